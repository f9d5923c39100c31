#include "replica/offline/apache_log.h"

#include "common/cursor.h"

#include <string.h>
#include <zlib.h>

#define MAGIC "ZKLG"
#define VERSION 2
#define HEADER_BYTES 16      /* magic, version, dbid */
#define RECORD_HEAD_BYTES 12 /* checksum in 8 bytes, length */
#define RECORD_BYTES_MIN 32  /* a TxnHeader */
#define RECORD_END 0x42      /* behind the payload */

static bool all_zero(const uint8_t *p, size_t n) {
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

const char *apache_log_open(struct apache_log *l, const uint8_t *bytes, size_t len) {
    *l = (struct apache_log){.bytes = bytes, .len = len, .at = HEADER_BYTES};
    if (len < HEADER_BYTES || all_zero(bytes, len)) {
        l->len = 0;
        return NULL;
    }
    struct cursor c;
    cursor_init(&c, bytes + strlen(MAGIC), len - strlen(MAGIC));
    if (memcmp(bytes, MAGIC, strlen(MAGIC)) != 0)
        return "is no transaction log of Apache ZooKeeper";
    if (cursor_u32be(&c) != VERSION)
        return "is a transaction log of a version that is not known";
    return NULL;
}

/* Whether a whole record stands at `at`. Cheap for what is none: the search asks it everywhere. */
static bool whole_at(const struct apache_log *l, size_t at, struct slice *ret_payload) {
    if (l->len - at < RECORD_HEAD_BYTES + RECORD_BYTES_MIN + 1)
        return false;
    struct cursor c;
    cursor_init(&c, l->bytes + at, l->len - at);
    uint64_t checksum = cursor_u64be(&c);
    uint32_t n = cursor_u32be(&c);
    if (checksum > UINT32_MAX || n < RECORD_BYTES_MIN || n > INT32_MAX || n >= cursor_left(&c) ||
        c.p[n] != RECORD_END)
        return false;
    if (adler32_z(1, c.p, n) != checksum)
        return false;
    *ret_payload = (struct slice){c.p, (int32_t)n};
    return true;
}

enum apache_log_item apache_log_next(struct apache_log *l, struct slice *ret_payload) {
    if (l->at >= l->len)
        return APACHE_LOG_END;
    if (whole_at(l, l->at, ret_payload)) {
        l->at += RECORD_HEAD_BYTES + (size_t)ret_payload->len + 1;
        return APACHE_LOG_RECORD;
    }
    if (all_zero(l->bytes + l->at, l->len - l->at))
        return APACHE_LOG_END;
    struct slice behind;
    for (size_t at = l->at + 1; at < l->len; at++)
        if (whole_at(l, at, &behind))
            return APACHE_LOG_DAMAGED;
    return APACHE_LOG_TORN;
}
