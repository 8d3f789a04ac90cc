// SPDX-License-Identifier: Apache-2.0
// /init of the bench's initramfs: says on the 16550 (port 0x3f8) when user space is reached, then runs each workload
// named in /workloads (one command a line) and says when it starts and ends. The host stamps the lines. Works the same
// under bulkhead-vmm and under qemu-system-x86_64, whose debug-exit device (port 0xf4) ends the run.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *s)
{
	for (; *s; s++)
		outb((unsigned char)*s, 0x3f8);
}

// What the workload prints is passed on, a line at a time; nobody else listens to its standard output.
static void pass_on(int fd)
{
	char buf[512];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf) - 1)) > 0) {
		buf[n] = 0;
		say(buf);
	}
}

static int run(char *line)
{
	char *argv[32], *save = NULL;
	int n = 0, status = 0, out[2];
	pid_t pid;

	for (char *w = strtok_r(line, "\t", &save); w && n < 31; w = strtok_r(NULL, "\t", &save))
		argv[n++] = w;
	argv[n] = NULL;
	if (n < 2 || pipe(out) < 0)
		return -1;
	say("START ");
	say(argv[0]);
	say("\n");
	pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO); // a full table is seen as a failing workload
		execv(argv[1], argv + 1);
		_exit(127);
	}
	(void)close(out[1]);
	pass_on(out[0]);
	(void)close(out[0]);
	(void)waitpid(pid, &status, 0); // the only child
	say(status == 0 ? "END " : "FAIL ");
	say(argv[0]);
	say("\n");
	return status;
}

int main(void)
{
	static char buf[8192];
	char *save = NULL;
	int fd;

	if (iopl(3) < 0)
		return 1;
	say("INIT\n");
	(void)mkdir("/proc", 0755);                    // may be there
	(void)mount("proc", "/proc", "proc", 0, NULL); // a workload that needs it fails and says so
	fd = open("/workloads", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0) {
		for (char *l = strtok_r(buf, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
			(void)run(l); // it said how it went
	}
	say("DONE\n");
	outb(0, 0xf4);
	(void)reboot(RB_POWER_OFF); // where there is no debug-exit device
	for (;;)
		(void)pause(); // power-off may take a moment
}
