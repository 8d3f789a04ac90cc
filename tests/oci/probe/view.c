// SPDX-License-Identifier: Apache-2.0
// What the probe sees around its process: mounts, namespaces, names, clocks, processes, interfaces.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

struct mount {
	char root[1024], point[4096], options[512], propagation[64], type[64], source[1024],
		super[2048];
};

// One line of mountinfo (proc(5)); false at the end. What is longer than its field here is no mount of these tests.
static int next_mount(FILE *f, struct mount *m)
{
	static char line[16384];
	char *rest, *word;

	memset(m, 0, sizeof(*m));
	if (!fgets(line, sizeof(line), f) ||
	    sscanf(line, "%*d %*d %*s %1023s %4095s %511s", m->root, m->point, m->options) != 3 ||
	    !(rest = strstr(line, m->options)))
		return 0;
	(void)strtok_r(rest, " ", &rest);
	while ((word = strtok_r(NULL, " ", &rest)) && strcmp(word, "-") != 0) {
		word[strcspn(word, ":")] = '\0';
		if (*m->propagation)
			strcat(m->propagation, ",");
		strncat(m->propagation, strcmp(word, "master") == 0 ? "slave" : word, 20);
	}
	if (!*m->propagation)
		strcpy(m->propagation, "private");
	return sscanf(rest, "%63s %1023s %2047s", m->type, m->source, m->super) == 3;
}

static int find_mount(const char *point, struct mount *found)
{
	static struct mount m;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int n = 0;

	while (f && next_mount(f, &m))
		if (strcmp(m.point, point) == 0) { // the last one is on top
			*found = m;
			n = 1;
		}
	if (f)
		(void)fclose(f);
	return n;
}

// mount:PATH: options of the mount itself and its propagation
static void mount_query(const char *query, const char *what)
{
	static struct mount m;

	if (find_mount(what, &m))
		say(query, "%s %s", m.options, m.propagation);
	else
		say(query, "none");
}

// mountfs:PATH: the file system
static void mountfs(const char *query, const char *what)
{
	static struct mount m;

	if (find_mount(what, &m))
		say(query, "%s %s %s", m.type, m.source, m.super);
	else
		say(query, "none");
}

// mounts:PREFIX: how many, and the names of the first
static void mounts(const char *query, const char *what)
{
	static struct mount m;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char names[1024] = "";
	unsigned n = 0;

	while (f && next_mount(f, &m))
		if (strncmp(m.point, what, strlen(what)) == 0 && n++ < 8)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
				 m.point);
	if (f)
		(void)fclose(f);
	say(query, "%u%s", n, names);
}

// ns:KIND: the kernel's first namespaces have known inode numbers (include/linux/proc_ns.h); network and mount have not.
static void ns(const char *query, const char *what)
{
	static const struct {
		const char *name;
		ino_t initial;
	} kinds[] = {
		{ "ipc", 0xefffffff }, { "uts", 0xeffffffe },    { "user", 0xeffffffd },
		{ "pid", 0xeffffffc }, { "cgroup", 0xeffffffb }, { "time", 0xeffffffa },
	};
	struct stat st;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", what);
	if (stat(path, &st) < 0) {
		say_result(query, -1);
		return;
	}
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, what) == 0)
			say(query, "%s", st.st_ino == kinds[i].initial ? "initial" : "own");
}

static void uts(const char *query, const char *what)
{
	struct utsname u;

	(void)what;
	(void)uname(&u);
	say(query, "host %s domain %s machine %s", u.nodename, u.domainname, u.machine);
}

// clock:monotonic|boottime:SECONDS: whether so much has passed
static void clock_query(const char *query, const char *what)
{
	struct timespec ts = { 0 };
	const char *limit = strchr(what, ':');

	(void)clock_gettime(*what == 'm' ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, &ts);
	say(query, "%s", ts.tv_sec >= atoll(limit ? limit + 1 : "0") ? "yes" : "no");
}

static void pid(const char *query, const char *what)
{
	DIR *d = opendir("/proc");
	struct dirent *ent;
	unsigned n = 0;

	(void)what;
	while (d && (ent = readdir(d)))
		n += isdigit((unsigned char)ent->d_name[0]) != 0;
	if (d)
		(void)closedir(d);
	say(query, "%d parent %d group %d of %u processes", getpid(), getppid(), getpgrp(), n);
}

static void link_query(const char *query, const char *what)
{
	struct ifreq r = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strncpy(r.ifr_name, what, sizeof(r.ifr_name) - 1);
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &r) < 0)
		say_result(query, -1);
	else
		say(query, "%s", r.ifr_flags & IFF_UP ? "up" : "down");
	if (s >= 0)
		(void)close(s);
}

const struct probe_query view_queries[] = {
	{ "mount", mount_query },
	{ "mountfs", mountfs },
	{ "mounts", mounts },
	{ "ns", ns },
	{ "uts", uts },
	{ "clock", clock_query },
	{ "pid", pid },
	{ "link", link_query },
	{ 0 },
};
