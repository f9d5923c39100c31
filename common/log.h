/* Log lines: `TIME LEVEL text key=value …`, one sentence each, zxids in hex, to standard error.
 * Pure code does not log; the shell logs once, where an error is handled. The level is the one
 * global. */
#ifndef ZKFS_COMMON_LOG_H
#define ZKFS_COMMON_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
