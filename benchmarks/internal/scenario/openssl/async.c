/*
 * Measures OpenSSL's ASYNC_JOB on one thread. Usage:
 *
 *   async version          prints the version of the library
 *   async resume <ms>      prints the ns of a resume and the pause that follows
 *   async start <ms>       prints the ns of starting a job that finishes at once
 *
 * The last two measure for that many milliseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/async.h>
#include <openssl/crypto.h>

enum { BATCH = 1000, WARM_UP = 20 * BATCH };

static ASYNC_WAIT_CTX *wait_ctx;
static int stop;

static int pause_until_stop(void *arg)
{
    (void)arg;
    while (!stop)
        ASYNC_pause_job();
    return 1;
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 1;
}

static void expect(int got, int want)
{
    if (got != want) {
        fprintf(stderr, "ASYNC_start_job returned %d, want %d\n", got, want);
        exit(1);
    }
}

static void resume(long n)
{
    static ASYNC_JOB *job; /* NULL at first: the first call starts it */
    int ret;

    while (n-- > 0)
        expect(ASYNC_start_job(&job, wait_ctx, &ret, pause_until_stop, NULL, 0),
               ASYNC_PAUSE);
}

static void start(long n)
{
    int ret;

    while (n-- > 0) {
        ASYNC_JOB *job = NULL;

        expect(ASYNC_start_job(&job, wait_ctx, &ret, do_nothing, NULL, 0),
               ASYNC_FINISH);
    }
}

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return 1e9 * (double)ts.tv_sec + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
    void (*operation)(long);
    double begin, elapsed, limit;
    long n = 0;

    if (!ASYNC_is_capable() || !ASYNC_init_thread(1, 1)) {
        fprintf(stderr, "no ASYNC_JOB on this platform\n");
        return 1;
    }
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        puts(OpenSSL_version(OPENSSL_VERSION));
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "resume") == 0) {
        operation = resume;
    } else if (argc == 3 && strcmp(argv[1], "start") == 0) {
        operation = start;
    } else {
        fprintf(stderr, "usage: async version | resume <ms> | start <ms>\n");
        return 2;
    }
    limit = 1e6 * atof(argv[2]);
    wait_ctx = ASYNC_WAIT_CTX_new();

    operation(WARM_UP);
    begin = now_ns();
    do {
        operation(BATCH);
        n += BATCH;
        elapsed = now_ns() - begin;
    } while (elapsed < limit);
    printf("%.3f\n", elapsed / (double)n);
    return 0;
}
