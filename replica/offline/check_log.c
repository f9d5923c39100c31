#include "replica/offline/check_log.h"

#include "common/mem.h"
#include "replica/offline/frames.h"
#include "replica/proto/txn_codec.h"
#include "replica/store/store_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void damage(struct check_log *c, uint64_t offset, const char *what) {
    buf_printf(&c->found, "damage %s offset %" PRIu64 ": %s\n", c->name, offset, what);
    c->damages++;
}

/* What is broken, and not closed by now; the caller ends the line. */
static void say_open(struct check_log *c, const char *kind, const char *what) {
    buf_printf(&c->found, "%s %s offset %" PRIu64 " bytes %" PRIu64 ": %s", kind, c->open_name,
               c->open_at, c->open_bytes, what);
    c->open = false;
}

static bool follows(zxid_t last, zxid_t z) {
    if (zxid_counter(z) == 0)
        return zxid_epoch(z) > zxid_epoch(last);
    return last != 0 && z == last + 1;
}

/* The record of `zxid` is whole and what is before it, back to the last whole one, is not. */
static void close_hole(struct check_log *c, uint64_t at, zxid_t zxid) {
    bool nothing = c->open && follows(c->last_zxid, zxid) && zxid_counter(zxid) != 0;
    const char *what = nothing ? "dropped: no record is lost"
                       : zxid <= c->base + 1
                           ? "dropped: a whole snapshot has what stood there"
                           : "hole: records are lost that the other servers of its ensemble have";
    if (!c->open) {
        c->open_name = c->name;
        c->open_at = at;
        c->open_bytes = 0;
    }
    say_open(c, "damage", what);
    buf_printf(&c->found, "; between zxid 0x%" PRIx64 " and 0x%" PRIx64 "\n", c->last_zxid, zxid);
    c->damages++;
}

static void take_record(struct check_log *c, const struct frame *f) {
    struct log_record r;
    if (!log_record_decode(f->body, &r)) {
        damage(c, f->at, "a record with the right checksum that cannot be read");
        return;
    }
    if (r.kind == LOG_TXN && !c->frames_only) {
        struct txn *t = txn_decode(r.payload, r.zxid);
        if (!t)
            damage(c, f->at, "a record with the right checksum that is no transaction");
        txn_free(t);
    }
    /* Where the log begins is for the snapshot to explain. */
    bool begins = c->records == 0 && !c->open;
    if (begins)
        c->last_zxid = c->prev_zxid;
    if (c->open || !(follows(c->last_zxid, r.zxid) || (begins && c->last_zxid == 0)))
        close_hole(c, f->at, r.zxid);
    if (c->first_zxid == 0)
        c->first_zxid = r.zxid;
    c->last_zxid = r.zxid;
    c->records++;
    c->transactions += r.kind == LOG_TXN;
    c->epochs += r.kind == LOG_EPOCH;
}

static void open_damage(struct check_log *c, const struct frame *f) {
    if (!c->open) {
        c->open_name = c->name;
        c->open_at = f->at;
    }
    c->open_bytes = (c->open ? c->open_bytes : 0) + f->size_bytes;
    c->open = true;
}

/* Whether what is broken at the log's end is an unfinished write, by the mark behind it (NULL:
 * there is none), as docs/disk-format.md has it. */
static int is_torn(struct check_log *c, struct frames *f, const struct wal_mark *mark, bool later) {
    uint64_t zero_pieces = 0;
    if (!mark)
        return 1;
    if (later || mark->batch_start > c->open_at)
        return 0;
    int err = wal_reader_zero_pieces(&f->reader, mark->batch_start, mark->offset, &zero_pieces);
    return err < 0 ? err : zero_pieces > mark->zero_pieces;
}

static int judge_end(struct check_log *c, struct frames *f, const struct wal_mark *mark,
                     bool later) {
    int torn = c->last_segment ? is_torn(c, f, mark, later) : 0;
    if (torn < 0)
        return torn;
    if (torn)
        say_open(c, "torn", "an unfinished write, that nobody acknowledged: a start cuts it\n");
    return 0;
}

static void take_head(struct check_log *c, const struct frames *f, zxid_t first_zxid) {
    if (f->head_damaged) {
        damage(c, 0, "the segment's head");
        c->prev_zxid = c->last_zxid;
        return;
    }
    c->prev_zxid = f->header.prev_zxid;
    if (f->header.first_zxid != first_zxid)
        damage(c, 0, "the head belongs to a segment of another name");
    /* A log that was purged begins behind what a snapshot has. */
    if (c->segments == 0 && f->header.prev_zxid > c->base)
        damage(c, 0, "the log begins here, and no whole snapshot has what was before");
    if (c->segments == 0)
        return;
    if (c->seal != 0 && (c->next_zxid != first_zxid || c->seal != f->header.prev_seal))
        damage(c, 0, "a segment before this one is missing, or is another one");
    if (c->seal == 0 && !c->open)
        damage(c, 0, "the segment before this one ends without a seal");
}

/* Reads all frames; the first mark behind something broken, and whether there is a later one, tell
 * what that is. */
static int read_frames(struct check_log *c, struct frames *f) {
    struct frame frame = {.kind = FRAME_RECORD};
    struct wal_mark mark = {0};
    int marks = 0;
    for (;;) {
        int err = frames_next(f, &frame);
        if (err < 0)
            return err;
        if (frame.kind == FRAME_NONE)
            break;
        if (frame.kind == FRAME_RECORD) {
            take_record(c, &frame);
        } else if (frame.kind == FRAME_DAMAGE) {
            open_damage(c, &frame);
            marks = 0;
        } else if (frame.kind == FRAME_MARK) {
            if (marks++ == 0)
                mark = frame.mark;
            c->seal = frame.mark.next_zxid ? frame.checksum : 0;
            c->next_zxid = frame.mark.next_zxid;
        }
    }
    return c->open ? judge_end(c, f, marks > 0 ? &mark : NULL, marks > 1) : 0;
}

static void put_segment(struct check_log *c, const struct frames *f, uint64_t records) {
    c->segments++;
    c->bytes += f->reader.size_bytes;
    buf_printf(&c->lines,
               "segment %s records %" PRIu64 " last_zxid 0x%" PRIx64 " bytes %" PRIu64 "\n",
               c->name, records, c->last_zxid, f->reader.size_bytes);
}

static int read_segment(struct check_log *c, zxid_t first_zxid) {
    struct frames f;
    struct buf why = BUF_INIT;
    char *path = store_file_path(c->dir, c->name);
    int err = frames_open(&f, c->files, path, &why);
    mem_free(path);
    if (err == -EBADMSG || err == -ENODATA || err == -EPROTONOSUPPORT) {
        buf_put_u8(&why, 0);
        damage(c, 0, (const char *)why.data);
        err = 0;
    } else if (err == 0) {
        uint64_t before = c->records;
        take_head(c, &f, first_zxid);
        c->seal = 0;
        err = read_frames(c, &f);
        put_segment(c, &f, c->records - before);
        frames_close(&f);
    }
    buf_close(&why);
    return err;
}

/* Whether the segment was made and nothing written into it: then it does not count, and the one
 * before may lack its seal. 1, 0 or negative errno; 2: there is not even a whole head. */
static int is_empty(struct check_log *c, const char *name) {
    struct frames f;
    struct buf why = BUF_INIT;
    char *path = store_file_path(c->dir, name);
    int err = frames_open(&f, c->files, path, &why);
    mem_free(path);
    buf_close(&why);
    if (err == -EBADMSG || err == -EPROTONOSUPPORT)
        return 0;
    if (err < 0)
        return err == -ENODATA ? 2 : err;
    int empty = f.end <= WAL_HEADER_BYTES;
    frames_close(&f);
    return empty;
}

static void end_log(struct check_log *c) {
    if (!c->open)
        return;
    say_open(c, "damage",
             c->base > c->last_zxid
                 ? "dropped, as far as a whole snapshot has it; what stood behind that is lost"
                 : "lost end: what was acknowledged behind the last whole record may be gone");
    buf_printf(&c->found, "; behind zxid 0x%" PRIx64 "\n", c->last_zxid);
    c->damages++;
}

/* A seal's successor was durable before the seal, with its head. `empty` is the last segment, if it
 * holds nothing and its head is whole; 0: it is not there. */
static void check_successor(struct check_log *c, zxid_t empty) {
    char name[WAL_NAME_BYTES];
    if (c->seal == 0 || c->next_zxid == empty || c->cutting)
        return;
    wal_segment_name(c->next_zxid, name);
    c->name = name;
    damage(c, 0, "lost end: this segment was there, and nobody knows what it had");
    c->name = NULL;
}

int check_log_run(struct check_log *c, const struct store_list *l) {
    size_t first = 0, end = 0;
    zxid_t empty_zxid = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (l->list[i].part == STORE_SEGMENT)
            end = i + 1;
        else if (l->list[i].part == STORE_SNAPSHOT)
            first = i + 1;
    }
    if (end > first) {
        c->name = l->list[end - 1].name;
        int empty = is_empty(c, c->name);
        if (empty < 0)
            return empty;
        if (empty)
            buf_printf(&c->lines, "empty %s\n", c->name);
        if (empty == 1)
            empty_zxid = l->list[end - 1].zxid;
        end -= empty > 0;
    }
    for (size_t i = first; i < end; i++) {
        c->name = l->list[i].name;
        c->last_segment = i + 1 == end;
        int err = read_segment(c, l->list[i].zxid);
        if (err < 0)
            return err;
    }
    end_log(c);
    if (end > first)
        check_successor(c, empty_zxid);
    return 0;
}
