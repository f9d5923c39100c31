#include "common/zoocfg.h"

#include "common/buf.h"

#include <errno.h>
#include <string.h>

/* Reads lines as java.util.Properties.load does, in two steps: first a logical line (continuations
 * joined, comments and blank lines dropped, escapes still in it), then its key and value. */
struct reader {
    struct slice text;
    int32_t at;
    int line; /* number of the natural line at `at`, from 1 */
};

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\f'; }

static bool is_eol(uint8_t c) { return c == '\n' || c == '\r'; }

static void skip_blanks(struct reader *r) {
    while (r->at < r->text.len && is_blank(r->text.p[r->at]))
        r->at++;
}

/* Moves behind an end of line, where "\r\n" is one. */
static void skip_eol(struct reader *r) {
    if (r->at >= r->text.len)
        return;
    uint8_t c = r->text.p[r->at++];
    if (c == '\r' && r->at < r->text.len && r->text.p[r->at] == '\n')
        r->at++;
    r->line++;
}

static void skip_comment(struct reader *r) {
    while (r->at < r->text.len && !is_eol(r->text.p[r->at]))
        r->at++;
}

/* Reads the next logical line into out, and the number of the line it starts on. False at the end.
 */
static bool read_logical(struct reader *r, struct buf *out, int *ret_line) {
    buf_reset(out);
    skip_blanks(r);
    while (r->at < r->text.len) {
        uint8_t c = r->text.p[r->at];
        if (c == '#' || c == '!')
            skip_comment(r);
        else if (!is_eol(c))
            break;
        skip_eol(r);
        skip_blanks(r);
    }
    *ret_line = r->line;
    if (r->at >= r->text.len)
        return false;
    while (r->at < r->text.len && !is_eol(r->text.p[r->at])) {
        uint8_t c = r->text.p[r->at++];
        if (c != '\\') {
            buf_put_u8(out, c);
            continue;
        }
        if (r->at >= r->text.len)
            break; /* a backslash at the very end continues with nothing */
        if (is_eol(r->text.p[r->at])) {
            skip_eol(r);
            skip_blanks(r);
            continue;
        }
        buf_put_u8(out, c);
        buf_put_u8(out, r->text.p[r->at++]);
    }
    skip_eol(r);
    return true;
}

static void put_utf8(struct buf *out, uint32_t code) {
    if (code < 0x80) {
        buf_put_u8(out, (uint8_t)code);
        return;
    }
    if (code < 0x800) {
        buf_put_u8(out, (uint8_t)(0xc0 | code >> 6));
    } else {
        buf_put_u8(out, (uint8_t)(0xe0 | code >> 12));
        buf_put_u8(out, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
    }
    buf_put_u8(out, (uint8_t)(0x80 | (code & 0x3f)));
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Appends what the escape at p (behind its backslash, n bytes left) stands for. Returns how many
 * bytes it took, 0 when a \u has no four hex digits. */
static int32_t put_escape(struct buf *out, const uint8_t *p, int32_t n) {
    static const char letters[] = "tnrf";
    static const char meant[] = "\t\n\r\f";
    if (p[0] != 'u') {
        const char *found = p[0] ? strchr(letters, p[0]) : NULL;
        buf_put_u8(out, found ? (uint8_t)meant[found - letters] : p[0]);
        return 1;
    }
    uint32_t code = 0;
    for (int32_t i = 1; i <= 4; i++) {
        int digit = i < n ? hex_digit(p[i]) : -1;
        if (digit < 0)
            return 0;
        code = code << 4 | (uint32_t)digit;
    }
    put_utf8(out, code);
    return 5;
}

/* Appends s, escapes resolved and blanks at both ends trimmed, as a terminated string. Blanks that
 * an escape made are trimmed too, for ZooKeeper trims after java.util.Properties. False for a bad
 * escape or a NUL, that would end the string early. */
static bool unescape(struct buf *out, const uint8_t *p, int32_t n) {
    buf_reset(out);
    for (int32_t i = 0; i < n;) {
        if (p[i] != '\\' || i + 1 == n) {
            buf_put_u8(out, p[i++]);
            continue;
        }
        int32_t took = put_escape(out, p + i + 1, n - i - 1);
        if (took == 0)
            return false;
        i += 1 + took;
    }
    if (out->len > 0 && memchr(out->data, 0, out->len))
        return false;
    while (out->len > 0 && out->data[out->len - 1] <= ' ')
        out->len--;
    size_t lead = 0;
    while (lead < out->len && out->data[lead] <= ' ')
        lead++;
    buf_consume(out, lead);
    buf_put_u8(out, 0);
    return true;
}

/* Takes a logical line apart at its first `=` that has no backslash before it. */
static bool split(const struct buf *logical, struct buf *key, struct buf *value) {
    int32_t len = (int32_t)logical->len;
    int32_t equals = 0;
    while (equals < len && logical->data[equals] != '=')
        equals += logical->data[equals] == '\\' ? 2 : 1;
    if (equals >= len)
        return false;
    return unescape(key, logical->data, equals) && key->len > 1 &&
           unescape(value, logical->data + equals + 1, len - equals - 1);
}

int zoocfg_parse(struct slice text, zoocfg_fn *fn, void *ctx, int *ret_line) {
    struct reader r = {.text = text, .line = 1};
    struct buf logical = BUF_INIT;
    struct buf key = BUF_INIT;
    struct buf value = BUF_INIT;
    int line = 0;
    int result = 0;
    while (result == 0 && read_logical(&r, &logical, &line)) {
        if (split(&logical, &key, &value))
            result = fn(ctx, line, (const char *)key.data, (const char *)value.data);
        else
            result = -EINVAL;
    }
    if (result != 0)
        *ret_line = line;
    buf_close(&value);
    buf_close(&key);
    buf_close(&logical);
    return result;
}
