// SPDX-License-Identifier: Apache-2.0
// containerd-shim-bulkhead-v2: containerd runs it, by the name io.containerd.bulkhead.v2.
#include <stdio.h>
#include <string.h>

#include "shim/shim.h"

static const char help_text[] =
	"Usage: containerd-shim-bulkhead-v2 [flags] start|delete\n"
	"\n"
	"Runs pods of Bulkhead for containerd, which starts it by itself:\n"
	"\n"
	"   ctr run --runtime io.containerd.bulkhead.v2 IMAGE ID\n"
	"   docker run --runtime io.containerd.bulkhead.v2 IMAGE      (docker 23 and later)\n"
	"   runtime_type = \"io.containerd.bulkhead.v2\"                (Kubernetes: a runtime of CRI)\n"
	"\n"
	"  -namespace NS          containerd's namespace\n"
	"  -id ID                 of the container\n"
	"  -address PATH          containerd's socket\n"
	"  -publish-binary PATH   containerd itself, for events\n"
	"  -bundle DIR            of the container, for delete\n"
	"  -socket PATH           where it listens\n"
	"  -debug                 log more\n"
	"  -info                  print what the runtime can do (a protobuf message)\n"
	"  -v, -version           print the version\n"
	"\n"
	"containerd finds it in its PATH: see packaging/containerd/.\n";

struct flag {
	const char *name;
	const char **value; // of one with a value
	bool *set;          // of one without
};

// Go's flags: one dash or two, the value after '=' or as the next word. Returns 0, or -1 for one that is not known.
static int take(const struct flag *flags, int argc, char **argv, int *at)
{
	const char *word = argv[*at] + (argv[*at][1] == '-' ? 2 : 1);
	size_t len = strcspn(word, "=");

	for (const struct flag *f = flags; f->name; f++) {
		if (strlen(f->name) != len || strncmp(f->name, word, len) != 0)
			continue;
		if (f->set) {
			*f->set = word[len] != '=' || strcmp(word + len, "=true") == 0;
			return 0;
		}
		if (word[len] == '=')
			*f->value = word + len + 1;
		else if (*at + 1 < argc)
			*f->value = argv[++*at];
		else
			return -1;
		return 0;
	}
	return -1;
}

static int parse(int argc, char **argv, struct shim_options *o, bool *ret_help)
{
	const char *ignored;
	const struct flag flags[] = {
		{ "namespace", &o->ns, NULL },      { "id", &o->id, NULL },
		{ "address", &o->address, NULL },   { "publish-binary", &o->publish_binary, NULL },
		{ "bundle", &o->bundle, NULL },     { "socket", &o->socket, NULL },
		{ "debug-socket", &ignored, NULL }, { "debug", NULL, &o->debug },
		{ "info", NULL, &o->info },         { "v", NULL, &o->version },
		{ "version", NULL, &o->version },   { "h", NULL, ret_help },
		{ "help", NULL, ret_help },         { NULL, NULL, NULL },
	};
	int at = 1;

	for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++)
		if (take(flags, argc, argv, &at) < 0) {
			(void)fprintf(stderr, "flag %s: not known, or without its value\n",
				      argv[at]);
			return -1;
		}
	o->action = at < argc ? argv[at] : "";
	return 0;
}

static int act(const struct shim_options *o)
{
	if (!*o->id || !*o->ns) {
		(void)fprintf(stderr, "-id and -namespace are needed (--help)\n");
		return 1;
	}
	if (strcmp(o->action, "start") == 0)
		return shim_action_start(o);
	if (strcmp(o->action, "delete") == 0)
		return shim_action_delete(o);
	if (*o->action) {
		(void)fprintf(stderr, "%s: not known; start or delete\n", o->action);
		return 1;
	}
	return shim_daemon(o);
}

int main(int argc, char **argv)
{
	struct shim_options o = { .ns = "", .id = "", .address = "", .publish_binary = "" };
	bool help = false;

	if (parse(argc, argv, &o, &help) < 0)
		return 1;
	if (help) {
		(void)fputs(help_text, stdout);
		return 0;
	}
	if (o.version) {
		(void)printf("%s\n", SHIM_VERSION_TEXT);
		return 0;
	}
	return o.info ? shim_action_info(&o) : act(&o);
}
