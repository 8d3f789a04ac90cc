// SPDX-License-Identifier: Apache-2.0
// bulkhead completion: a script that lets a shell complete commands, options and the ids of containers. Its words come
// from the tables that the commands are parsed by.
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "runtime/cli.h"

static bool takes_word(const struct cli_option *o)
{
	return o->kind == CLI_STRING || o->kind == CLI_LIST || o->kind == CLI_IGNORED_STRING;
}

static void put_options(const struct cli_option *o, bool only_valued)
{
	for (; o && o->name; o++) {
		if (only_valued && !takes_word(o))
			continue;
		printf(" --%s", o->name);
		if (o->letter)
			printf(" -%c", o->letter);
	}
}

// Of containers that are there: not of those that make one.
static bool takes_id(const struct cli_command *c)
{
	return strncmp(c->args, "ID", 2) == 0 && strcmp(c->name, "create") != 0 &&
	       strcmp(c->name, "run") != 0;
}

static void put_words(void)
{
	const struct cli_command *const *c;

	printf("\tlocal globals='");
	put_options(cli_global_options, false);
	printf(" --help' commands='help");
	for (c = cli_commands; *c; c++)
		if (!(*c)->hidden)
			printf(" %s", (*c)->name);
	printf("'\n\tlocal with_id=' ");
	for (c = cli_commands; *c; c++)
		if (takes_id(*c) && !(*c)->hidden)
			printf("%s ", (*c)->name);
	printf("'\n\tlocal -A options=(");
	for (c = cli_commands; *c; c++) {
		if ((*c)->hidden)
			continue;
		printf("\n\t\t[%s]='", (*c)->name);
		put_options((*c)->options, false);
		printf(" --help'");
	}
	printf("\n\t)\n\tlocal -A valued=(\n\t\t[.]='");
	put_options(cli_global_options, true);
	printf(" '");
	for (c = cli_commands; *c; c++) {
		if ((*c)->hidden)
			continue;
		printf("\n\t\t[%s]='", (*c)->name);
		put_options((*c)->options, true);
		printf(" '");
	}
	printf("\n\t)\n");
}

static const char head[] = "# bash completion of bulkhead\n_bulkhead() {\n";
static const char body[] =
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} cmd=. word takes=0 n=0 i\n"
	"\tlocal -a root=()\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\t[[ $word == = ]] && continue\n"
	"\t\tif ((takes)); then\n"
	"\t\t\t[[ $takes == 2 ]] && root=(--root \"$word\")\n"
	"\t\t\ttakes=0\n"
	"\t\telif [[ $word == -* ]]; then\n"
	"\t\t\t[[ ${valued[$cmd]} == *\" $word \"* ]] && takes=1\n"
	"\t\t\t[[ $cmd == . && $word == --root ]] && takes=2\n"
	"\t\telif [[ $cmd == . ]]; then\n"
	"\t\t\tcmd=$word\n"
	"\t\telse\n"
	"\t\t\tn=$((n + 1))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tif ((takes)) || [[ $cur == = ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -f -- \"${cur#=}\"))\n"
	"\telif [[ $cmd == . ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$([[ $cur == -* ]] && echo \"$globals\" || echo \"$commands\")\" -- \"$cur\"))\n"
	"\telif [[ $cmd == help ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))\n"
	"\telif [[ $cur == -* ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"${options[$cmd]}\" -- \"$cur\"))\n"
	"\telif [[ $n == 0 && $with_id == *\" $cmd \"* ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" \"${root[@]}\" list --quiet 2> /dev/null)\" -- \"$cur\"))\n"
	"\telif [[ $n == 1 && $cmd == kill ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -A signal -- \"$cur\"))\n"
	"\tfi\n"
	"}\n"
	"complete -o default -F _bulkhead bulkhead\n";

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct err e;

	(void)g;
	(void)opts;
	(void)argc;
	if (strcmp(argv[0], "bash") != 0) {
		(void)err_set(&e, 0, "completion: no such shell: \"%.40s\" (bash is known)",
			      argv[0]);
		return cli_fail(&e);
	}
	printf("%s", head);
	put_words();
	printf("%s", body);
	if (fflush(stdout) == EOF) {
		(void)err_set(&e, 0, "standard output: %m"); // printed below
		return cli_fail(&e);
	}
	return 0;
}

const struct cli_command cmd_completion = {
	.name = "completion",
	.args = "SHELL",
	.summary = "print a script that completes commands, options and ids in a shell",
	.help = "   For bash:\n\n"
		"      bulkhead completion bash > /etc/bash_completion.d/bulkhead\n"
		"      . <(bulkhead completion bash)      # for this shell only\n",
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
