// SPDX-License-Identifier: Apache-2.0
// What the probe sees of its own process.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

extern char **environ;

static void ids(const char *query, const char *what)
{
	uid_t u[3];
	gid_t g[3];

	(void)what;
	(void)getresuid(&u[0], &u[1], &u[2]);
	(void)getresgid(&g[0], &g[1], &g[2]);
	say(query, "uid %u %u %u %d", u[0], u[1], u[2], setfsuid((uid_t)-1));
	say(query, "gid %u %u %u %d", g[0], g[1], g[2], setfsgid((gid_t)-1));
}

static void groups(const char *query, const char *what)
{
	static gid_t list[65536];
	int n = getgroups(65536, list);

	(void)what;
	printf("%s %d:", query, n);
	for (int i = 0; i < n && i < 32; i++)
		printf(" %u", list[i]);
	putchar('\n');
}

static const char *const cap_name[] = {
	"chown",         "dac_override",   "dac_read_search", "fowner",     "fsetid",
	"kill",          "setgid",         "setuid",          "setpcap",    "immutable",
	"net_bind",      "net_broadcast",  "net_admin",       "net_raw",    "ipc_lock",
	"ipc_owner",     "sys_module",     "sys_rawio",       "sys_chroot", "sys_ptrace",
	"sys_pacct",     "sys_admin",      "sys_boot",        "sys_nice",   "sys_resource",
	"sys_time",      "sys_tty_config", "mknod",           "lease",      "audit_write",
	"audit_control", "setfcap",        "mac_override",    "mac_admin",  "syslog",
	"wake_alarm",    "block_suspend",  "audit_read",      "perfmon",    "bpf",
	"checkpoint",
};

static void caps(const char *query, const char *what)
{
	static const char *const sets[] = { "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:" };
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];

	(void)what;
	while (f && fgets(line, sizeof(line), f))
		for (unsigned i = 0; i < 5; i++) {
			unsigned long long bits;

			if (strncmp(line, sets[i], 7) != 0)
				continue;
			bits = strtoull(line + 7, NULL, 16);
			printf("%s %s", query, sets[i]);
			for (unsigned c = 0; c < 64; c++)
				if (bits >> c & 1)
					printf(" %s", c < 41 ? cap_name[c] : "?");
			putchar('\n');
		}
	if (f)
		(void)fclose(f);
}

static void rlimit(const char *query, const char *what)
{
	static const char *const names[] = {
		"CPU",     "FSIZE", "DATA",  "STACK",      "CORE",     "RSS",  "NPROC",  "NOFILE",
		"MEMLOCK", "AS",    "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
	};
	struct rlimit l;

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(names[i], what) != 0 && *what)
			continue;
		if (getrlimit((__rlimit_resource_t)i, &l) < 0)
			say(query, "%s", strerrorname_np(errno));
		else
			say(query, "%s %lld %lld", names[i], (long long)l.rlim_cur,
			    (long long)l.rlim_max); // infinity is -1
	}
}

// struct sched_attr of sched_getattr(2), first version.
struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static void sched(const char *query, const char *what)
{
	struct sched_attr_v0 a = { 0 };

	(void)what;
	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) < 0) {
		say_result(query, -1);
		return;
	}
	say(query, "policy %u flags %#llx nice %d priority %u", a.policy,
	    (unsigned long long)a.flags, a.nice, a.priority);
	if (a.policy == 6)
		say(query, "runtime %llu deadline %llu period %llu", (unsigned long long)a.runtime,
		    (unsigned long long)a.deadline, (unsigned long long)a.period);
}

static void ioprio(const char *query, const char *what)
{
	long v = syscall(SYS_ioprio_get, 1, 0);

	(void)what;
	if (v < 0)
		say_result(query, v);
	else
		say(query, "class %ld priority %ld", v >> 13, v & 7);
}

static void affinity(const char *query, const char *what)
{
	cpu_set_t set;

	(void)what;
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0) {
		say_result(query, -1);
		return;
	}
	printf("%s", query);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			printf(" %d", i);
	putchar('\n');
}

static void person(const char *query, const char *what)
{
	(void)what;
	say(query, "%#x", (unsigned)personality(0xffffffff));
}

static void mempolicy(const char *query, const char *what)
{
	unsigned long nodes[16] = { 0 };
	int mode = 0;

	(void)what;
	if (syscall(SYS_get_mempolicy, &mode, nodes, 1024ul, NULL, 0) < 0)
		say_result(query, -1);
	else
		say(query, "mode %d flags %#x nodes %#lx", mode & 0x1fff, mode & ~0x1fff, nodes[0]);
}

static void mask(const char *query, const char *what)
{
	(void)what;
	say(query, "%04o", umask(0));
}

static void cwd(const char *query, const char *what)
{
	char path[4096];

	(void)what;
	say(query, "%s", getcwd(path, sizeof(path)) ? path : strerrorname_np(errno));
}

static void env(const char *query, const char *what)
{
	for (char **p = environ; *p; p++)
		if (strncmp(*p, what, strlen(what)) == 0)
			say(query, "%s", *p);
}

// How much there is, where it is too much to print.
static void env_size(const char *query, const char *what)
{
	size_t n = 0, longest = 0;

	(void)what;
	for (; environ[n]; n++)
		longest = strlen(environ[n]) > longest ? strlen(environ[n]) : longest;
	say(query, "%zu longest %zu", n, longest);
}

static void nnp(const char *query, const char *what)
{
	(void)what;
	say(query, "%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void keyring(const char *query, const char *what)
{
	char text[256] = "";
	long n = syscall(SYS_keyctl, 6, -3, text, sizeof(text) - 1); // describe the session's

	(void)what;
	if (n < 0)
		say_result(query, n);
	else
		say(query, "%s", text);
}

static void fds(const char *query, const char *what)
{
	(void)what;
	printf("%s", query);
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	putchar('\n');
}

static void signals(const char *query, const char *what)
{
	sigset_t blocked;

	(void)what;
	(void)sigprocmask(SIG_SETMASK, NULL, &blocked);
	printf("%s not default:", query);
	for (int s = 1; s < NSIG; s++) {
		struct sigaction sa;

		if (sigaction(s, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL)
			printf(" %d", s);
	}
	printf("; blocked:");
	for (int s = 1; s < NSIG; s++)
		if (sigismember(&blocked, s) == 1)
			printf(" %d", s);
	putchar('\n');
}

static void tty(const char *query, const char *what)
{
	struct winsize w;
	struct stat console, in;
	char name[64] = "none";
	int ctty = open("/dev/tty", O_RDWR | O_CLOEXEC);

	(void)what;
	for (int fd = 0; fd < 3; fd++)
		if (ioctl(fd, TIOCGWINSZ, &w) == 0)
			say(query, "%d %ux%u", fd, w.ws_row, w.ws_col);
		else
			say(query, "%d %s", fd, strerrorname_np(errno));
	(void)ttyname_r(0, name, sizeof(name));
	say(query, "name %s controlling %s leader %s", name, ctty >= 0 ? "yes" : "no",
	    getsid(0) == getpid() ? "yes" : "no");
	if (stat("/dev/console", &console) == 0 && fstat(0, &in) == 0)
		say(query, "console %s", console.st_rdev == in.st_rdev ? "is it" : "is another");
}

const struct probe_query process_queries[] = {
	{ "ids", ids },
	{ "groups", groups },
	{ "caps", caps },
	{ "rlimit", rlimit },
	{ "sched", sched },
	{ "ioprio", ioprio },
	{ "affinity", affinity },
	{ "personality", person },
	{ "mempolicy", mempolicy },
	{ "umask", mask },
	{ "cwd", cwd },
	{ "env", env },
	{ "envsize", env_size },
	{ "nnp", nnp },
	{ "keyring", keyring },
	{ "fds", fds },
	{ "signals", signals },
	{ "tty", tty },
	{ 0 },
};
