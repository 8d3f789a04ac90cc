// SPDX-License-Identifier: Apache-2.0
// PID 1 of the guests that QEMU boots: says on the serial port, byte by byte and with no driver, which kernel and how many
// processors it is on, that time passes and that a disk reads back what was written, then ends the machine: by the kernel's
// reboot if the command line says "reboot", else by a write to isa-debug-exit.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
	DEBUG_EXIT = 0xf4,
	COM1 = 0x3f8,
	COM1_STATUS = COM1 + 5,
	TRANSMITTER_EMPTY = 0x20,
	SECTORS = 256,
	SECTOR = 512
};

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (const char *p = line; *p; p++) {
		while (!(inb(COM1_STATUS) & TRANSMITTER_EMPTY))
			;
		outb((unsigned char)*p, COM1);
	}
}

static long long now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

// Sleeps come from timer interrupts; a clock that does not go with them shows here.
static void check_time(void)
{
	const struct timespec wait = { .tv_nsec = 20000000 };
	long long start = now_us(), took;

	for (int i = 0; i < 10; i++)
		(void)nanosleep(&wait, NULL);
	took = now_us() - start;
	say("guest: time %s: ten sleeps of 20 ms took %lld us\n",
	    took >= 200000 && took < 5000000 ? "ok" : "WRONG", took);
}

static uint32_t pattern(unsigned sector, unsigned word)
{
	return sector * 2654435761u ^ word * 40503u;
}

// Every sector is written, made durable, read back past the page cache and compared.
static const char *disk_try(int fd)
{
	static uint32_t words[SECTORS * SECTOR / 4] __attribute__((aligned(4096)));
	unsigned per = SECTOR / 4;

	for (unsigned i = 0; i < SECTORS * per; i++)
		words[i] = pattern(i / per, i % per);
	if (pwrite(fd, words, sizeof(words), 0) != (ssize_t)sizeof(words))
		return "write";
	if (fsync(fd) < 0)
		return "flush";
	memset(words, 0, sizeof(words));
	if (pread(fd, words, sizeof(words), 0) != (ssize_t)sizeof(words))
		return "read";
	for (unsigned i = 0; i < SECTORS * per; i++)
		if (words[i] != pattern(i / per, i % per))
			return "compare";
	return NULL;
}

static void check_disk(void)
{
	const struct timespec wait = { .tv_nsec = 50000000 };
	const char *bad;
	int fd = -1;

	for (int i = 0; fd < 0 && i < 60; i++) { // the driver looks for its disk in the background
		fd = open("/dev/nvme0n1", O_RDWR | O_DIRECT);
		if (fd < 0)
			(void)nanosleep(&wait, NULL);
	}
	if (fd < 0) {
		say("guest: no disk\n");
		return;
	}
	bad = disk_try(fd);
	if (bad)
		say("guest: disk WRONG: %s: %s\n", bad, strerror(errno));
	else
		say("guest: disk ok: %d sectors\n", SECTORS);
	(void)close(fd);
}

// What stands after "--" on the kernel's command line.
static bool asked(int argc, char **argv, const char *what)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], what) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct utsname u;

	(void)mkdir("/dev", 0755);
	(void)mount("dev", "/dev", "devtmpfs", 0, NULL); // there already on some kernels
	if (iopl(3) < 0)
		return 1;
	(void)uname(&u);
	say("guest: Linux %s, %ld processors\n", u.release, sysconf(_SC_NPROCESSORS_ONLN));
	check_time();
	if (asked(argc, argv, "disk"))
		check_disk();
	say("guest: done\n");
	if (asked(argc, argv, "reboot"))
		(void)reboot(RB_AUTOBOOT);
	outb(0, DEBUG_EXIT);
	for (;;) // idle: QEMU stops a processor by a signal that one busy with ports may miss
		(void)pause();
}
