// SPDX-License-Identifier: Apache-2.0
#include "oci/spec.h"

#include "oci/oci.h"

#define CAPS                             \
	"\t\t\t\t\"CAP_AUDIT_WRITE\",\n" \
	"\t\t\t\t\"CAP_KILL\",\n"        \
	"\t\t\t\t\"CAP_NET_BIND_SERVICE\"\n"
#define MOUNT(dest, type, source, options)              \
	"\t\t{\n"                                       \
	"\t\t\t\"destination\": \"" dest "\",\n"        \
	"\t\t\t\"type\": \"" type "\",\n"               \
	"\t\t\t\"source\": \"" source "\"" options "\n" \
	"\t\t}"
#define OPTIONS(list) ",\n\t\t\t\"options\": [\n" list "\t\t\t]"
#define OPT(name) "\t\t\t\t\"" name "\",\n"
#define LAST(name) "\t\t\t\t\"" name "\"\n"
#define NS(type) "\t\t\t{\n\t\t\t\t\"type\": \"" type "\"\n\t\t\t}"
#define PATH(path) "\t\t\t\"" path "\""

const char *oci_spec_default(void)
{
	return "{\n"
	       "\t\"ociVersion\": \"" OCI_VERSION "\",\n"
	       "\t\"process\": {\n"
	       "\t\t\"terminal\": true,\n"
	       "\t\t\"user\": {\n\t\t\t\"uid\": 0,\n\t\t\t\"gid\": 0\n\t\t},\n"
	       "\t\t\"args\": [\n\t\t\t\"sh\"\n\t\t],\n"
	       "\t\t\"env\": [\n"
	       "\t\t\t\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
	       "\t\t\t\"TERM=xterm\"\n"
	       "\t\t],\n"
	       "\t\t\"cwd\": \"/\",\n"
	       "\t\t\"capabilities\": {\n"
	       "\t\t\t\"bounding\": [\n" CAPS "\t\t\t],\n"
	       "\t\t\t\"effective\": [\n" CAPS "\t\t\t],\n"
	       "\t\t\t\"permitted\": [\n" CAPS "\t\t\t]\n"
	       "\t\t},\n"
	       "\t\t\"rlimits\": [\n"
	       "\t\t\t{\n"
	       "\t\t\t\t\"type\": \"RLIMIT_NOFILE\",\n"
	       "\t\t\t\t\"hard\": 1024,\n"
	       "\t\t\t\t\"soft\": 1024\n"
	       "\t\t\t}\n"
	       "\t\t],\n"
	       "\t\t\"noNewPrivileges\": true\n"
	       "\t},\n"
	       "\t\"root\": {\n\t\t\"path\": \"rootfs\",\n\t\t\"readonly\": true\n\t},\n"
	       "\t\"hostname\": \"bulkhead\",\n"
	       "\t\"mounts\": [\n" MOUNT("/proc", "proc", "proc", "") ",\n" //
		MOUNT("/dev", "tmpfs", "tmpfs",
		      OPTIONS(OPT("nosuid") OPT("strictatime") OPT("mode=755")
				      LAST("size=65536k"))) ",\n" //
		MOUNT("/dev/pts", "devpts", "devpts",
		      OPTIONS(OPT("nosuid") OPT("noexec") OPT("newinstance") OPT("ptmxmode=0666")
				      OPT("mode=0620") LAST("gid=5"))) ",\n" //
		MOUNT("/dev/shm", "tmpfs", "shm",
		      OPTIONS(OPT("nosuid") OPT("noexec") OPT("nodev") OPT("mode=1777")
				      LAST("size=65536k"))) ",\n" //
		MOUNT("/dev/mqueue", "mqueue", "mqueue",
		      OPTIONS(OPT("nosuid") OPT("noexec") LAST("nodev"))) ",\n" //
		MOUNT("/sys", "sysfs", "sysfs",
		      OPTIONS(OPT("nosuid") OPT("noexec") OPT("nodev") LAST("ro"))) ",\n" //
		MOUNT("/sys/fs/cgroup", "cgroup", "cgroup",
		      OPTIONS(OPT("nosuid") OPT("noexec") OPT("nodev") OPT("relatime") LAST(
			      "ro"))) "\n"
				      "\t],\n"
				      "\t\"linux\": {\n"
				      "\t\t\"resources\": {\n"
				      "\t\t\t\"devices\": [\n"
				      "\t\t\t\t{\n"
				      "\t\t\t\t\t\"allow\": false,\n"
				      "\t\t\t\t\t\"access\": \"rwm\"\n"
				      "\t\t\t\t}\n"
				      "\t\t\t]\n"
				      "\t\t},\n"
				      "\t\t\"namespaces\": [\n" NS("pid") ",\n" NS(
					      "network") ",\n" NS("ipc") ",\n" NS("uts") ",\n" //
		NS("mount") ",\n" NS("cgroup") "\n\t\t],\n"
					       "\t\t\"maskedPaths\": [\n"                     //
		PATH("/proc/acpi") ",\n" PATH("/proc/asound") ",\n" PATH("/proc/kcore") ",\n" //
		PATH("/proc/keys") ",\n" PATH("/proc/latency_stats") ",\n" PATH(
			"/proc/timer_list") ",\n" //
		PATH("/proc/timer_stats") ",\n" PATH("/proc/sched_debug") ",\n" PATH(
			"/sys/firmware") ",\n" //
		PATH("/proc/scsi") "\n\t\t],\n"
				   "\t\t\"readonlyPaths\": [\n"                        //
		PATH("/proc/bus") ",\n" PATH("/proc/fs") ",\n" PATH("/proc/irq") ",\n" //
		PATH("/proc/sys") ",\n" PATH("/proc/sysrq-trigger") "\n\t\t]\n"
								    "\t}\n"
								    "}\n";
}
