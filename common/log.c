#include "common/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* One line is at most this long; pipes take a write of up to 4096 bytes in one piece (pipe(7)), so
 * that lines of several threads and processes never mix. */
#define LINE_BYTES 4096

/* Relaxed is enough: a line more or less around a change of level does no harm. */
static _Atomic int current_level = LOG_INFO;

void log_set_level(enum log_level level) {
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

static size_t put_head(char *line, size_t size, enum log_level level) {
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    int more =
        snprintf(line + n, size - n, ".%03dZ %s ", (int)(now.tv_nsec / 1000000), names[level]);
    return n + (size_t)more;
}

/* Copies text, with control characters as \xNN: what a client sent must not be able to forge a line
 * or to steer the operator's terminal. A text that does not fit ends in "...". */
static size_t put_text(char *line, size_t size, const char *text) {
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (n + 8 > size) {
            for (int dots = 0; dots < 3; dots++)
                line[n++] = '.';
            return n;
        }
        if (c >= 0x20 && c != 0x7f) {
            line[n++] = (char)c;
            continue;
        }
        line[n++] = '\\';
        line[n++] = 'x';
        line[n++] = hex[c >> 4];
        line[n++] = hex[c & 15];
    }
    return n;
}

void log_line(enum log_level level, const char *fmt, ...) {
    if ((int)level > atomic_load_explicit(&current_level, memory_order_relaxed))
        return;
    char text[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    int formatted = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (formatted < 0)
        return;
    char line[LINE_BYTES];
    size_t n = put_head(line, sizeof line, level);
    n += put_text(line + n, sizeof line - n - 1, text);
    line[n++] = '\n';
    /* There is no other place to report that the log cannot be written. */
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written;
}
