// SPDX-License-Identifier: Apache-2.0
// The command line: global options, the table of sub-commands, and the option parser that both use.
#ifndef RUNTIME_CLI_H
#define RUNTIME_CLI_H

#include <stdbool.h>
#include <stddef.h>

struct err;

// One row per option. Long names take one or two dashes, the value after '=' or as the next word, as Go's flags do.
enum cli_kind { CLI_FLAG, CLI_STRING, CLI_LIST, CLI_IGNORED_FLAG, CLI_IGNORED_STRING };
// What a CLI_LIST collects: the values of all its uses, in order.
struct cli_list {
	const char **v; // cli_free_lists
	size_t n;
};
struct cli_option {
	const char *name;
	char letter; // 0: none
	enum cli_kind kind;
	size_t offset; // of a bool, const char * or struct cli_list in the struct that is filled
	const char *value_name; // for help
	const char *help;
};
#define CLI_END              \
	{                    \
		.name = NULL \
	}

// Fills dest from the options at the head of argv[0..argc-1]; *ret_used is the number of words taken. "-h" and
// "--help" set *ret_help. Stops at the first word that is no option, and after "--".
int cli_parse(const struct cli_option *table, void *dest, int argc, char **argv, int *ret_used,
	      bool *ret_help, struct err *e);
void cli_free_lists(const struct cli_option *table, void *dest);
void cli_print_options(const struct cli_option *table);

struct cli_globals {
	const char *root, *log, *log_format, *config, *hypervisor, *kernel, *initrd, *memory,
		*vcpus;
	const char *cgroup_manager;
	bool debug, systemd_cgroup, timings, version;
};

struct cli_command {
	const char *name, *args, *summary;
	const char *help;                 // paragraphs for --help: what it does, an example
	const struct cli_option *options; // CLI_END ends it; NULL: none
	size_t options_size;              // of the struct that `options` fills
	int args_min, args_max;           // args_max -1: any
	bool hidden;
	// Returns the exit status. opts is the filled struct; argv holds what followed the options.
	int (*run)(const struct cli_globals *g, const void *opts, int argc, char **argv);
};

// main.c: all of them, in the order of the help, ended by NULL; and the options before a command.
extern const struct cli_command *const cli_commands[];
extern const struct cli_option cli_global_options[];

extern const struct cli_command cmd_check, cmd_completion, cmd_create, cmd_delete, cmd_events,
	cmd_exec, cmd_features, cmd_kill, cmd_list, cmd_pause, cmd_ps, cmd_resume, cmd_run,
	cmd_spec, cmd_start, cmd_state, cmd_supervisor, cmd_update;

// Logs e as the command's error and returns 1.
int cli_fail(const struct err *e);

#endif
