/* Loaded into the agent, keeps beside each file of its state what is on the disk for sure: a copy of the file as it was
 * when it was last synced. A power cut may leave that much of it and no more.
 *
 * POWER_STATE is the directory whose files are kept, POWER_SYNCED where the copies lie. A file that was made and never
 * synced is there without content once its directory was synced, and not at all before.
 *
 * While there is a file POWER_REFUSES, the disk refuses all that is written to the state with the error whose number
 * stands in it. While there is a file POWER_SLOWS, each sync of the state takes so many milliseconds longer.
 *
 * While there is a file POWER_KILLS, the agent is killed at the step that stands in it: `w 3` before the third write to
 * the state from then on, `s 1` before the first sync, `S 1` after it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void failed(const char *what) {
    perror(what);
    abort(); /* a copy that lacks something would hide what the test looks for */
}

static void copy(int from, const char *dir, const char *name) {
    char making[PATH_MAX], made[PATH_MAX], buf[1 << 16];
    snprintf(making, sizeof making, "%s/.making-%d", dir, gettid());
    snprintf(made, sizeof made, "%s/%s", dir, name);
    int to = open(making, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to < 0) failed(making);
    off_t at = 0;
    for (ssize_t n; (n = pread(from, buf, sizeof buf, at)) != 0; at += n)
        if (n < 0 || write(to, buf, (size_t)n) != n) failed(making);
    close(to);
    /* whole or not at all, for we may be killed at any instant */
    if (rename(making, made) != 0) failed(made);
}

static void synced_directory(const char *state, const char *synced) {
    char path[PATH_MAX];
    struct stat st;
    DIR *dir = opendir(state);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", synced, e->d_name);
        if (e->d_type == DT_REG && stat(path, &st) != 0) close(open(path, O_WRONLY | O_CREAT, 0600));
    }
    closedir(dir);
    dir = opendir(synced);
    if (!dir) failed(synced);
    for (struct dirent *e; (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", state, e->d_name);
        if (e->d_type == DT_REG && e->d_name[0] != '.' && lstat(path, &st) != 0) {
            snprintf(path, sizeof path, "%s/%s", synced, e->d_name);
            unlink(path);
        }
    }
    closedir(dir);
}

/* What the file is called, if it is of the state: its name in `path` behind so many bytes, else 0. */
static size_t of_state(int fd, char *link, char *path) {
    const char *state = getenv("POWER_STATE");
    snprintf(link, 64, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (!state || n < 0) return 0;
    path[n] = 0;
    size_t len = strlen(state);
    return strncmp(path, state, len) == 0 ? len : 0;
}

/* What the test has said by the file that this variable names. */
static int is_told(const char *variable, char *what, size_t most) {
    const char *file = getenv(variable);
    int kept = errno, told = file ? open(file, O_RDONLY) : -1;
    errno = kept;
    if (told < 0) return 0;
    ssize_t n = read(told, what, most - 1);
    close(told);
    if (n <= 0) return 0;
    what[n] = 0;
    return 1;
}

static int refused(int fd) {
    char link[64], path[PATH_MAX], number[16];
    if (!is_told("POWER_REFUSES", number, sizeof number) || of_state(fd, link, path) == 0) return 0;
    errno = atoi(number);
    return 1;
}

static void slowed(int fd) {
    char link[64], path[PATH_MAX], number[16];
    if (!is_told("POWER_SLOWS", number, sizeof number) || of_state(fd, link, path) == 0) return;
    int ms = atoi(number);
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* The agent is at this step of its work on the state; one thread does all of it. */
static void at_step(char step, int fd) {
    static int left[128];
    char link[64], path[PATH_MAX], which[16];
    if (!is_told("POWER_KILLS", which, sizeof which)) {
        memset(left, 0, sizeof left);
        return;
    }
    if (which[0] != step || of_state(fd, link, path) == 0) return;
    if (left[(int)step] == 0) left[(int)step] = atoi(which + 1);
    if (--left[(int)step] == 0) kill(getpid(), SIGKILL);
}

static void keep(int fd) {
    const char *state = getenv("POWER_STATE"), *synced = getenv("POWER_SYNCED");
    char link[64], path[PATH_MAX];
    size_t len = of_state(fd, link, path);
    struct stat st;
    if (!synced || len == 0 || fstat(fd, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) {
        synced_directory(state, synced);
    } else if (path[len] == '/' && st.st_nlink > 0) {
        int from = open(link, O_RDONLY);
        if (from < 0) failed(link);
        copy(from, synced, path + len + 1);
        close(from);
    }
}

static int sync_by(const char *name, int fd) {
    int (*real)(int);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    at_step('s', fd);
    slowed(fd);
    int done = refused(fd) ? -1 : real(fd);
    if (done == 0) keep(fd);
    at_step('S', fd);
    return done;
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }

static ssize_t write_by(const char *name, int fd, const void *buf, size_t n, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    at_step('w', fd);
    return refused(fd) ? -1 : real(fd, buf, n, at);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at) { return write_by("pwrite", fd, buf, n, at); }
ssize_t pwrite64(int fd, const void *buf, size_t n, off_t at) { return write_by("pwrite64", fd, buf, n, at); }
