// SPDX-License-Identifier: Apache-2.0
#include "oci/features.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/own.h"
#include "oci/oci.h"

// Sorted, as the document asks for. What is not here, the runtime refuses by name at create.
static const char *const mount_options[] = {
	"async",
	"atime",
	"bind",
	"copy-symlink",
	"defaults",
	"dest-nofollow",
	"dev",
	"diratime",
	"dirsync",
	"exec",
	"idmap",
	"iversion",
	"lazytime",
	"loud",
	"mand",
	"noatime",
	"nodev",
	"nodiratime",
	"noexec",
	"noiversion",
	"nolazytime",
	"nomand",
	"norelatime",
	"nostrictatime",
	"nosuid",
	"nosymfollow",
	"private",
	"ratime",
	"rbind",
	"rdev",
	"rdiratime",
	"relatime",
	"remount",
	"rexec",
	"ridmap",
	"rnoatime",
	"rnodev",
	"rnodiratime",
	"rnoexec",
	"rnorelatime",
	"rnostrictatime",
	"rnosuid",
	"rnosymfollow",
	"ro",
	"rprivate",
	"rrelatime",
	"rro",
	"rrw",
	"rshared",
	"rslave",
	"rstrictatime",
	"rsuid",
	"rsymfollow",
	"runbindable",
	"rw",
	"shared",
	"silent",
	"slave",
	"src-nofollow",
	"strictatime",
	"suid",
	"symfollow",
	"sync",
	"tmpcopyup",
	"unbindable",
	NULL,
};
static const char *const namespaces[] = { "cgroup", "ipc",  "mount", "network", "pid",
					  "time",   "user", "uts",   NULL };
static const char *const hooks[] = { "createContainer", "createRuntime",  "poststart", "poststop",
				     "prestart",        "startContainer", NULL };
static const char *const capabilities[] = {
	"CAP_AUDIT_CONTROL",   "CAP_AUDIT_READ",   "CAP_AUDIT_WRITE",
	"CAP_BLOCK_SUSPEND",   "CAP_BPF",          "CAP_CHECKPOINT_RESTORE",
	"CAP_CHOWN",           "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",          "CAP_FSETID",       "CAP_IPC_LOCK",
	"CAP_IPC_OWNER",       "CAP_KILL",         "CAP_LEASE",
	"CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",    "CAP_MAC_OVERRIDE",
	"CAP_MKNOD",           "CAP_NET_ADMIN",    "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",   "CAP_NET_RAW",      "CAP_PERFMON",
	"CAP_SETFCAP",         "CAP_SETGID",       "CAP_SETPCAP",
	"CAP_SETUID",          "CAP_SYSLOG",       "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",        "CAP_SYS_CHROOT",   "CAP_SYS_MODULE",
	"CAP_SYS_NICE",        "CAP_SYS_PACCT",    "CAP_SYS_PTRACE",
	"CAP_SYS_RAWIO",       "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",  "CAP_WAKE_ALARM",   NULL,
};

static void put_list(struct json_out *o, const char *key, const char *const *names)
{
	json_out_key(o, key);
	json_out_open(o, '[');
	for (; *names; names++)
		json_out_str(o, *names);
	json_out_close(o, ']');
}

static void put_enabled(struct json_out *o, const char *key, bool enabled)
{
	json_out_key(o, key);
	json_out_open(o, '{');
	json_out_kbool(o, "enabled", enabled);
	json_out_close(o, '}');
}

static void put_seccomp(struct json_out *o)
{
	static const char *const actions[] = {
		"SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO",       "SCMP_ACT_KILL",
		"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
		"SCMP_ACT_TRACE",        "SCMP_ACT_TRAP",        NULL
	};
	static const char *const ops[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
					   "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
					   "SCMP_CMP_NE", NULL };
	static const char *const archs[] = { "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64",
					     NULL };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_LOG",
					     "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					     "SECCOMP_FILTER_FLAG_TSYNC", NULL };

	json_out_key(o, "seccomp");
	json_out_open(o, '{');
	json_out_kbool(o, "enabled", true);
	put_list(o, "actions", actions);
	put_list(o, "operators", ops);
	put_list(o, "archs", archs);
	put_list(o, "knownFlags", flags);
	put_list(o, "supportedFlags", flags);
	json_out_close(o, '}');
}

static void put_linux(struct json_out *o)
{
	json_out_key(o, "linux");
	json_out_open(o, '{');
	put_list(o, "namespaces", namespaces);
	put_list(o, "capabilities", capabilities);
	json_out_key(o, "cgroup");
	json_out_open(o, '{');
	json_out_kbool(o, "v1", true);
	json_out_kbool(o, "v2", true);
	json_out_kbool(o, "systemd", true);
	json_out_kbool(o, "systemdUser", false);
	json_out_kbool(o, "rdma", false);
	json_out_close(o, '}');
	put_seccomp(o);
	put_enabled(o, "apparmor", false);
	put_enabled(o, "selinux", false);
	put_enabled(o, "intelRdt", false);
	json_out_key(o, "mountExtensions");
	json_out_open(o, '{');
	put_enabled(o, "idmap", true);
	json_out_close(o, '}');
	put_enabled(o, "netDevices", false);
	json_out_close(o, '}');
}

int oci_features_print(const char *version, char **ret_json, size_t *ret_len, struct err *e)
{
	struct json_out o;
	char *text AUTO_FREE = NULL;
	size_t len = 0;
	int r = json_out_init(&o, "  ", e);

	if (r < 0)
		return r;
	json_out_open(&o, '{');
	json_out_kstr(&o, "ociVersionMin", "1.0.0");
	json_out_kstr(&o, "ociVersionMax", OCI_VERSION);
	put_list(&o, "hooks", hooks);
	put_list(&o, "mountOptions", mount_options);
	put_linux(&o);
	json_out_key(&o, "annotations");
	json_out_open(&o, '{');
	json_out_kstr(&o, "org.bulkhead.version", version);
	json_out_close(&o, '}');
	json_out_close(&o, '}');
	r = json_out_take(&o, &text, &len, e);
	json_out_done(&o);
	if (r < 0)
		return r;
	text[len++] = '\n'; // over the NUL: the length is what counts from here
	*ret_json = take_ptr(&text);
	*ret_len = len;
	return 0;
}
