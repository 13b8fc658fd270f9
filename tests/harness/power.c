/* Loaded into the agent, keeps beside each file of its state what is on the disk for sure: a copy of the file as it was
 * when it was last synced. A power cut may leave that much of it and no more.
 *
 * POWER_STATE is the directory whose files are kept, POWER_SYNCED where the copies lie. A file that was made and never
 * synced is there without content once its directory was synced, and not at all before. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static void keep(int fd) {
    const char *state = getenv("POWER_STATE"), *synced = getenv("POWER_SYNCED");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (!state || !synced || n < 0) return;
    path[n] = 0;
    size_t len = strlen(state);
    struct stat st;
    if (strncmp(path, state, len) != 0 || fstat(fd, &st) != 0) return;
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
    int done = real(fd);
    if (done == 0) keep(fd);
    return done;
}

int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }
