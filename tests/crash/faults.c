/* Preloaded into a process (LD_PRELOAD), this counts its file operations below a folder, and lets one of them go wrong.

   Counted are: open for writing, write, fsync, truncate, rename, unlink, mkdir, rmdir. `faults_arm` says at which of
   them, and how. It can also write a trace: a line for each operation, and the bytes of each write. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode {
    COUNT,     /* nothing goes wrong */
    KILL,      /* killed before the operation */
    TORN,      /* killed after half of a write */
    FULL,      /* half of a write, and from then on ENOSPC; what needs no space works */
    READ_ONLY, /* EROFS from then on */
    ONCE       /* EIO, this once */
};

typedef char path_t[PATH_MAX + 16];

static path_t folder;
static enum mode mode;
static long fault_at;
static int trace = -1;
static atomic_long *count; /* shared with the processes that are forked */

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

__attribute__((constructor)) static void begin(void) {
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void faults_arm(const char *below, int what, long at, int trace_descriptor) {
    snprintf(folder, sizeof folder, "%s/", below);
    mode = what, fault_at = at, trace = trace_descriptor;
    atomic_store(count, 0);
}

long faults_count(void) { return atomic_load(count); }

static bool of_descriptor(int descriptor, path_t path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_MAX);
    path[size < 0 ? 0 : size] = 0;
    return *folder && !strncmp(path, folder, strlen(folder));
}

static bool of_name(int at, const char *name, path_t path) {
    path_t base = "";
    if (*name == '/')
        snprintf(path, PATH_MAX, "%s", name);
    else {
        if (at == AT_FDCWD) {
            if (!getcwd(base, PATH_MAX)) return false;
        } else
            of_descriptor(at, base);
        snprintf(path, sizeof(path_t), "%.2000s/%.2000s", base, name);
    }
    return *folder && !strncmp(path, folder, strlen(folder));
}

static void note(const char *what, const char *path, const char *other, long offset, const void *bytes, size_t size) {
    if (trace < 0) return;
    dprintf(trace, "%s\t%s\t%s\t%ld\t%zu\n", what, path, other, offset, size);
    if (size && syscall(SYS_write, trace, bytes, size) != (long)size) raise(SIGABRT);
}

/* Count an operation; return the error with which it fails, 0, or -1: half of it is done. */
static int fault(bool needs_space, bool writes) {
    long number = atomic_fetch_add(count, 1) + 1;
    if (!fault_at || number < fault_at) return 0;
    bool now = number == fault_at;
    switch (mode) {
    case KILL:
        if (now) raise(SIGKILL);
        return 0;
    case TORN:
        if (now && writes) return -1;
        if (now) raise(SIGKILL);
        return 0;
    case FULL: return !needs_space ? 0 : now && writes ? -1 : ENOSPC;
    case READ_ONLY: return EROFS;
    case ONCE: return now ? EIO : 0;
    default: return 0;
    }
}

#define FAIL_IF(watched, needs_space)                            \
    do {                                                         \
        int error = (watched) ? fault(needs_space, false) : 0;   \
        if (error) {                                             \
            errno = error;                                       \
            return -1;                                           \
        }                                                        \
    } while (0)

static int open_at(int at, const char *name, int flags, int permissions) {
    path_t path;
    bool watched = (flags & O_ACCMODE) != O_RDONLY && of_name(at, name, path);
    FAIL_IF(watched, flags & O_CREAT);
    if (watched) note("open", path, "", flags & O_TRUNC, NULL, 0);
    return REAL(int, "openat", int, const char *, int, ...)(at, name, flags, permissions);
}

#define PERMISSIONS(last)                                                            \
    int permissions = 0;                                                             \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                     \
        va_list rest;                                                                \
        va_start(rest, last);                                                        \
        permissions = va_arg(rest, int);                                             \
        va_end(rest);                                                                \
    }

#define OPEN(name)                                           \
    int name(const char *path, int flags, ...) {             \
        PERMISSIONS(flags)                                   \
        return open_at(AT_FDCWD, path, flags, permissions);  \
    }
#define OPENAT(name)                                         \
    int name(int at, const char *path, int flags, ...) {     \
        PERMISSIONS(flags)                                   \
        return open_at(at, path, flags, permissions);        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static ssize_t write_at(int descriptor, const void *bytes, size_t size, off64_t offset, bool positioned) {
    path_t path;
    int error = 0;
    if (of_descriptor(descriptor, path)) {
        error = fault(true, size > 1);
        if (error > 0) {
            errno = error;
            return -1;
        }
        if (error) size /= 2;
        struct stat now;
        long place = positioned ? offset : lseek(descriptor, 0, SEEK_CUR);
        if (trace >= 0 && fcntl(descriptor, F_GETFL) & O_APPEND && !fstat(descriptor, &now)) place = now.st_size;
        note("write", path, "", place, bytes, size);
    }
    ssize_t done = positioned ? REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(descriptor, bytes, size, offset)
                              : REAL(ssize_t, "write", int, const void *, size_t)(descriptor, bytes, size);
    if (error && mode == TORN) raise(SIGKILL);
    return done;
}

ssize_t write(int descriptor, const void *bytes, size_t size) { return write_at(descriptor, bytes, size, 0, false); }
ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    return write_at(descriptor, bytes, size, offset, true);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
    return write_at(descriptor, bytes, size, offset, true);
}
ssize_t writev(int descriptor, const struct iovec *parts, int num) { /* a part at a time: a short write is allowed */
    path_t path;
    if (of_descriptor(descriptor, path))
        for (int i = 0; i < num; i++)
            if (parts[i].iov_len) return write_at(descriptor, parts[i].iov_base, parts[i].iov_len, 0, false);
    return REAL(ssize_t, "writev", int, const struct iovec *, int)(descriptor, parts, num);
}

#define OF_DESCRIPTOR(name)                                    \
    int name(int descriptor) {                                 \
        path_t path;                                           \
        bool watched = of_descriptor(descriptor, path);        \
        FAIL_IF(watched, true);                                \
        if (watched) note("fsync", path, "", 0, NULL, 0);      \
        return REAL(int, #name, int)(descriptor);              \
    }
OF_DESCRIPTOR(fsync)
OF_DESCRIPTOR(fdatasync)

#define FTRUNCATE(name)                                              \
    int name(int descriptor, off64_t size) {                         \
        path_t path;                                                 \
        bool watched = of_descriptor(descriptor, path);              \
        FAIL_IF(watched, false);                                     \
        if (watched) note("truncate", path, "", size, NULL, 0);      \
        return REAL(int, "ftruncate64", int, off64_t)(descriptor, size); \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

#define TRUNCATE(name)                                               \
    int name(const char *file, off64_t size) {                       \
        path_t path;                                                 \
        bool watched = of_name(AT_FDCWD, file, path);                \
        FAIL_IF(watched, false);                                     \
        if (watched) note("truncate", path, "", size, NULL, 0);      \
        return REAL(int, "truncate64", const char *, off64_t)(file, size); \
    }
TRUNCATE(truncate)
TRUNCATE(truncate64)

int renameat(int from_at, const char *from, int to_at, const char *to) {
    path_t old, new;
    bool watched = of_name(from_at, from, old) | of_name(to_at, to, new);
    FAIL_IF(watched, true);
    if (watched) note("rename", old, new, 0, NULL, 0);
    return REAL(int, "renameat", int, const char *, int, const char *)(from_at, from, to_at, to);
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int at, const char *name, int flags) {
    path_t path;
    bool watched = of_name(at, name, path);
    FAIL_IF(watched, false);
    if (watched) note(flags & AT_REMOVEDIR ? "rmdir" : "unlink", path, "", 0, NULL, 0);
    return REAL(int, "unlinkat", int, const char *, int)(at, name, flags);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int at, const char *name, mode_t permissions) {
    path_t path;
    bool watched = of_name(at, name, path);
    FAIL_IF(watched, true);
    if (watched) note("mkdir", path, "", 0, NULL, 0);
    return REAL(int, "mkdirat", int, const char *, mode_t)(at, name, permissions);
}
int mkdir(const char *name, mode_t permissions) { return mkdirat(AT_FDCWD, name, permissions); }
