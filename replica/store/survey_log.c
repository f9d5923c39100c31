/* The log of a damaged directory: which of its records are whole. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/mem.h"
#include "replica/store/survey.h"
#include "replica/store/wal_reader.h"
#include "replica/store/wal_state.h"
#include "replica/store/wal_truncate.h"

/* So much of a segment is spent on the search behind damage; then only marks, which are short, are
 * looked for, and the rest of such a batch counts as lost. */
#define SEARCH_BYTES_MAX WAL_SEARCH_BYTES
/* A segment whose header is gone has its predecessor's salt and a little more, if one process wrote
 * both: snapshots take numbers from the same row. */
#define SALTS_TRIED 4

/* What the segment before says of the one that follows it. */
struct neighbour {
    bool known;       /* its header and its seal were whole */
    zxid_t next_zxid; /* what follows */
    zxid_t last_zxid;
    uint64_t seal; /* the seal's checksum */
    uint64_t salt;
};

struct log_scan {
    struct survey *sv;
    struct buf *why;
    zxid_t *names; /* ascending */
    size_t count, cap;
    struct wal_cut cut;
    bool has_cut;
    struct neighbour before;
    /* The segment at hand. */
    zxid_t segment;
    char name[WAL_NAME_BYTES];
    bool last;
    int fd; /* -1: none is open */
    struct wal_reader reader;
    bool has_salt;
    uint64_t salt;
    uint64_t search_left; /* bytes */
    uint64_t at;
    zxid_t known;  /* the last record that is known to lie before `at`; 0: none */
    bool adjacent; /* directly before it */
    bool run_open; /* the last run ends there, but for marks */
    bool sealed;
    bool headless; /* the last segment holds nothing, and has no whole header either */
};

static int failed(struct log_scan *sc, int err) {
    buf_printf(sc->why, "%s/%s: cannot be read: %s", sc->sv->dir->path, sc->name, strerror(-err));
    return err;
}

/* ---- records ---- */

static void know(struct log_scan *sc, zxid_t zxid) {
    sc->known = zxid;
    sc->adjacent = true;
    if (zxid > sc->sv->known_end)
        sc->sv->known_end = zxid;
}

static void lose_place(struct log_scan *sc) {
    sc->adjacent = false;
    sc->run_open = false;
}

static void add_run(struct survey *sv, const struct survey_run *run) {
    if (sv->runs == NULL || sv->run_count == sv->run_cap) {
        sv->run_cap = sv->run_cap == 0 ? 16 : sv->run_cap * 2;
        sv->runs = mem_realloc(sv->runs, sv->run_cap * sizeof *sv->runs);
    }
    sv->runs[sv->run_count++] = *run;
}

/* The record before this one: that follows from its number, but for the first of an epoch. */
static zxid_t before_record(const struct log_scan *sc, zxid_t zxid) {
    if (zxid_counter(zxid) != 0)
        return zxid - 1;
    return sc->adjacent && zxid_epoch(sc->known) < zxid_epoch(zxid) ? sc->known : SURVEY_UNKNOWN;
}

static bool plausible(const struct log_record *r) {
    return r->zxid > 0 && zxid_epoch(r->zxid) > 0 &&
           (r->kind == LOG_EPOCH) == (zxid_counter(r->zxid) == 0);
}

static void take_record(struct log_scan *sc, const struct wal_frame *frame) {
    struct survey *sv = sc->sv;
    struct log_record r;
    struct survey_run *last = sv->run_count > 0 ? &sv->runs[sv->run_count - 1] : NULL;
    if (!log_record_decode(frame->body, &r) || !plausible(&r) ||
        (last != NULL && r.zxid <= last->last)) {
        /* Nobody writes that: there is no telling what it means. */
        survey_say(sv, sc->name, sc->at, "a record does not belong here");
        sv->tail_lost = true;
        lose_place(sc);
        return;
    }
    zxid_t before = before_record(sc, r.zxid);
    uint64_t end = sc->at + frame->size_bytes;
    if (sc->run_open && last != NULL && last->last == before) {
        last->last = r.zxid;
        last->end = end;
    } else {
        struct survey_run run = {.before = before,
                                 .first = r.zxid,
                                 .last = r.zxid,
                                 .segment = sc->segment,
                                 .identity = sc->reader.identity,
                                 .offset = sc->at,
                                 .end = end};
        add_run(sv, &run);
        sc->run_open = true;
    }
    know(sc, r.zxid);
}

static void take_mark(struct log_scan *sc, const struct wal_frame *frame) {
    const struct wal_mark *mark = &frame->mark;
    if (mark->last_zxid < sc->known)
        return;
    if (mark->last_zxid != sc->known)
        lose_place(sc);
    know(sc, mark->last_zxid);
    if (mark->next_zxid == 0)
        return;
    sc->sealed = true;
    sc->before = (struct neighbour){.known = sc->has_salt,
                                    .next_zxid = mark->next_zxid,
                                    .last_zxid = mark->last_zxid,
                                    .seal = frame->checksum,
                                    .salt = sc->salt};
}

/* ---- behind damage ---- */

/* Whether the beginning of a frame at `at` is worth its checksum; *ret_size is the frame's. */
static bool may_be_frame(struct log_scan *sc, const uint8_t *p, uint64_t at, size_t *ret_size) {
    struct wal_frame_head head = wal_frame_head(p);
    bool mark = head.magic == WAL_MAGIC_MARK && head.body_bytes == WAL_MARK_BODY_BYTES;
    bool record =
        head.magic == WAL_MAGIC_RECORD && head.body_bytes > 0 && head.body_bytes <= LOG_RECORD_MAX;
    if (!mark && !record)
        return false;
    *ret_size = wal_frame_size(head.body_bytes);
    if (at > sc->reader.size_bytes || *ret_size > sc->reader.size_bytes - at)
        return false;
    if (mark)
        return true;
    if (*ret_size > sc->search_left)
        return false;
    sc->search_left -= *ret_size;
    return true;
}

/* Looks for the next whole frame at or behind `from`: 1 found, 0 none, or negative errno. */
static int next_frame(struct log_scan *sc, uint64_t from, uint64_t *ret_at) {
    struct wal_reader *r = &sc->reader;
    for (uint64_t at = (from + WAL_ALIGN - 1) / WAL_ALIGN * WAL_ALIGN; at < r->size_bytes;
         at += WAL_ALIGN) {
        size_t size = 0;
        const uint8_t *p = wal_reader_view(r, at, WAL_FRAME_BYTES);
        if (p != NULL && !may_be_frame(sc, p, at, &size))
            continue;
        if (p != NULL)
            p = wal_reader_view(r, at, size);
        if (p == NULL)
            return failed(sc, r->err);
        if (wal_frame_valid(p, size, r->identity, at)) {
            *ret_at = at;
            return 1;
        }
    }
    return 0;
}

/* As wal_recover.c's judge_tail: whether what is bad at `at`, in the last segment, is the rest of a
 * write that never ended. 1, 0 or negative errno. */
static int is_torn(struct log_scan *sc, uint64_t at) {
    struct wal_mark mark, later;
    uint64_t zero_pieces = 0;
    int found = wal_reader_find_mark(&sc->reader, at, &mark);
    if (found == 0)
        return 1;
    if (found > 0 && mark.batch_start > at)
        return 0;
    if (found > 0)
        found = wal_reader_find_mark(&sc->reader, mark.offset + WAL_MARK_BYTES, &later);
    if (found > 0)
        return 0;
    if (found == 0)
        found = wal_reader_zero_pieces(&sc->reader, mark.batch_start, mark.offset, &zero_pieces);
    return found < 0 ? failed(sc, found) : zero_pieces > mark.zero_pieces;
}

/* What stands at sc->at is no frame. 1: it goes on at the next one; 0: nothing whole is behind it;
 * or negative errno. */
static int pass_damage(struct log_scan *sc) {
    /* What a cut leaves was durable, and so was what has a successor. */
    int torn = sc->last && !sc->has_cut ? is_torn(sc, sc->at) : 0;
    if (torn != 0)
        return torn < 0 ? torn : 0;
    survey_say(sc->sv, sc->name, sc->at, "a frame is broken");
    lose_place(sc);
    uint64_t next = 0;
    int found = next_frame(sc, sc->at + WAL_ALIGN, &next);
    if (found > 0)
        sc->at = next;
    return found;
}

/* ---- one segment ---- */

static int read_frames(struct log_scan *sc) {
    sc->at = WAL_HEADER_BYTES;
    while (!sc->sealed) {
        struct wal_frame frame;
        int err = wal_reader_frame(&sc->reader, sc->at, &frame);
        if (err < 0)
            return failed(sc, err);
        if (frame.kind == WAL_FRAME_END)
            return 0;
        if (frame.kind == WAL_FRAME_BAD) {
            int more = pass_damage(sc);
            if (more <= 0)
                return more;
            continue;
        }
        if (frame.kind == WAL_FRAME_RECORD)
            take_record(sc, &frame);
        else
            take_mark(sc, &frame);
        sc->at += frame.size_bytes;
    }
    return 0;
}

/* Whether frames of this segment are keyed with `identity`: 1, 0 or negative errno. */
static int try_identity(struct log_scan *sc, uint64_t identity) {
    uint64_t at = 0;
    sc->reader.identity = identity;
    sc->search_left = SEARCH_BYTES_MAX;
    return next_frame(sc, WAL_HEADER_BYTES, &at);
}

/* What the header of this segment would say if the process that wrote the one before wrote it. */
static int try_neighbour(struct log_scan *sc, const struct neighbour *before) {
    if (!before->known || before->next_zxid != sc->segment)
        return 0;
    int found = 0;
    for (uint32_t v = WAL_VERSION; found == 0 && v >= WAL_VERSION_MIN; v--) {
        for (uint64_t i = 1; found == 0 && i <= SALTS_TRIED; i++) {
            uint8_t bytes[WAL_HEADER_BYTES];
            struct wal_header h = {.version = v,
                                   .first_zxid = sc->segment,
                                   .prev_zxid = before->last_zxid,
                                   .prev_seal = before->seal,
                                   .salt = before->salt + i};
            found = try_identity(sc, wal_header_encode(&h, bytes));
        }
    }
    return found;
}

/* A header that is damaged may still have the identity, or all that the identity is made of; or the
 * segment before says what it was. A frame that is whole under it proves it: nothing else has that
 * checksum at that place. 1, 0 or negative errno. */
static int recover_identity(struct log_scan *sc, const uint8_t *header,
                            const struct neighbour *before) {
    uint8_t copy[WAL_HEADER_BYTES];
    memcpy(copy, header, sizeof copy);
    struct cursor c;
    cursor_init(&c, copy, sizeof copy);
    cursor_bytes(&c, 8);
    struct wal_header h = {.version = cursor_u32be(&c), .first_zxid = sc->segment};
    cursor_bytes(&c, 12);
    h.prev_zxid = (zxid_t)cursor_u64be(&c);
    h.prev_seal = cursor_u64be(&c);
    h.salt = cursor_u64be(&c);
    cursor_bytes(&c, 8);
    int found = try_identity(sc, cursor_u64be(&c));
    if (found == 0)
        found = try_identity(sc, wal_header_encode(&h, copy));
    return found == 0 ? try_neighbour(sc, before) : found;
}

/* Of another log, by a mistake of somebody's or of the file system's: its records have the right
 * numbers, perhaps, and are not ours. */
static bool continues_another(struct log_scan *sc, const struct neighbour *before,
                              const struct wal_header *h) {
    struct survey *sv = sc->sv;
    bool named = before->known && before->next_zxid == sc->segment;
    if (named && h->prev_seal != before->seal) {
        survey_say(sv, sc->name, 0, "the segment before it is not the one that it continues");
        return true;
    }
    bool behind_base = sc->segment == sc->names[0] && sv->has_base &&
                       sv->base.kind == SNAP_REPLACES && h->prev_zxid == sv->base.begun;
    if (behind_base && h->prev_seal != sv->base.checksum) {
        survey_say(sv, sc->name, 0, "the snapshot before it is not the one that it continues");
        sv->tail_lost = true;
        return true;
    }
    return false;
}

/* Finds out what keys the frames. 1; 0: nobody knows; or negative errno. */
static int read_header(struct log_scan *sc, const struct neighbour *before) {
    sc->has_salt = false;
    bool named = before->next_zxid == sc->segment;
    const uint8_t *p = wal_reader_view(&sc->reader, 0, WAL_HEADER_BYTES);
    if (p == NULL)
        return failed(sc, sc->reader.err);
    struct wal_header h;
    uint64_t identity = 0;
    int err = wal_header_decode(p, &h, &identity);
    if (err == -EPROTONOSUPPORT)
        buf_printf(sc->why,
                   "%s/%s: the log has a newer format than this program knows; start it with the "
                   "version that wrote it",
                   sc->sv->dir->path, sc->name);
    if (err == -EPROTONOSUPPORT)
        return err;
    if (err == 0 && h.first_zxid == sc->segment && continues_another(sc, before, &h)) {
        lose_place(sc);
        return 0;
    }
    if (err == 0 && h.first_zxid == sc->segment) {
        sc->reader.identity = identity;
        sc->has_salt = true;
        sc->salt = h.salt;
        if (h.prev_zxid >= sc->known)
            know(sc, h.prev_zxid);
        return 1;
    }
    survey_say(sc->sv, sc->name, 0, "the header is broken");
    int found = recover_identity(sc, p, before);
    if (found > 0 && named)
        know(sc, before->last_zxid);
    else
        lose_place(sc);
    return found;
}

static int open_segment(struct log_scan *sc, size_t i) {
    sc->segment = sc->names[i];
    wal_segment_name(sc->segment, sc->name);
    sc->fd = wal_segment_open(sc->sv->dir, sc->segment, O_RDONLY);
    if (sc->fd < 0)
        return failed(sc, sc->fd);
    int err = wal_reader_init(&sc->reader, sc->sv->dir->files, sc->fd);
    sc->search_left = SEARCH_BYTES_MAX;
    return err < 0 ? failed(sc, err) : 0;
}

static void close_segment(struct log_scan *sc) {
    wal_reader_close(&sc->reader);
    if (sc->fd >= 0)
        sc->sv->dir->files->close(sc->sv->dir->files->ctx, sc->fd);
    sc->fd = -1;
}

static void say_missing(struct log_scan *sc, zxid_t first_zxid) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(first_zxid, name);
    survey_say(sc->sv, name, 0, "it is missing");
}

static int read_segment(struct log_scan *sc, size_t i) {
    struct neighbour before = sc->before;
    sc->before = (struct neighbour){0};
    sc->last = i + 1 == sc->count;
    sc->sealed = sc->run_open = sc->adjacent = false;
    int err = open_segment(sc, i);
    if (err == 0 && before.next_zxid != 0 && before.next_zxid != sc->segment)
        say_missing(sc, before.next_zxid);
    int keyed = err < 0 ? err : read_header(sc, &before);
    if (keyed > 0 && sc->last && sc->has_cut && sc->cut.offset < sc->reader.size_bytes)
        wal_reader_limit(&sc->reader, sc->cut.offset);
    if (keyed > 0)
        err = read_frames(sc);
    else if (keyed == 0 && sc->last)
        sc->sv->tail_lost = true; /* nobody knows what it had */
    close_segment(sc);
    return keyed < 0 ? keyed : err;
}

/* ---- the segments ---- */

static void collect(void *arg, const char *name) {
    struct log_scan *sc = arg;
    zxid_t zxid = 0;
    if (!wal_segment_parse(name, &zxid))
        return;
    if (sc->count == sc->cap) {
        sc->cap = sc->cap == 0 ? 16 : sc->cap * 2;
        sc->names = mem_realloc(sc->names, sc->cap * sizeof *sc->names);
    }
    sc->names[sc->count++] = zxid;
}

static int compare_zxid(const void *a, const void *b) {
    zxid_t x = *(const zxid_t *)a;
    zxid_t y = *(const zxid_t *)b;
    return (x > y) - (x < y);
}

/* As wal_recover.c's holds_nothing: 1, 0 or negative errno. */
static int holds_nothing(struct log_scan *sc) {
    uint64_t content_end = 0;
    struct wal_header h;
    int err = wal_reader_content_end(&sc->reader, WAL_HEADER_BYTES, &content_end);
    const uint8_t *p = err < 0 ? NULL : wal_reader_view(&sc->reader, 0, WAL_HEADER_BYTES);
    if (p == NULL)
        return failed(sc, sc->reader.err);
    bool whole = wal_header_decode(p, &h, &sc->reader.identity) == 0 && h.first_zxid == sc->segment;
    if (whole && h.prev_zxid > sc->sv->known_end)
        sc->sv->known_end = h.prev_zxid;
    sc->headless = !whole;
    if (content_end == WAL_HEADER_BYTES)
        return 1;
    struct wal_frame frame;
    if (!whole)
        return 0;
    err = wal_reader_frame(&sc->reader, WAL_HEADER_BYTES, &frame);
    if (err < 0)
        return failed(sc, err);
    return frame.kind == WAL_FRAME_BAD ? is_torn(sc, WAL_HEADER_BYTES) : 0;
}

/* A last segment that never came to hold anything does not count, but the seal before it may name
 * it. */
static int set_empty_aside(struct log_scan *sc, zxid_t *ret_empty) {
    *ret_empty = 0;
    if (sc->count == 0 || sc->has_cut)
        return 0;
    int err = open_segment(sc, sc->count - 1);
    int nothing = err < 0 ? err : holds_nothing(sc);
    close_segment(sc);
    if (nothing > 0)
        *ret_empty = sc->names[--sc->count];
    return nothing < 0 ? nothing : 0;
}

static int read_cut(struct log_scan *sc) {
    struct buf why = BUF_INIT;
    int err = wal_cut_read(sc->sv->dir, &sc->has_cut, &sc->cut, &why);
    if (err == -EBADMSG) {
        /* Begun or not: what it takes away, nobody needs; what is gone is found to be gone. */
        survey_say(sc->sv, WAL_CUT_NAME, 0, "it says where the log was being cut, and is damaged");
        sc->sv->tail_lost = true;
        err = 0;
    } else if (err < 0) {
        buf_put(sc->why, why.data, why.len);
    }
    buf_close(&why);
    return err;
}

/* As if the cut were carried out. */
static void apply_cut(struct log_scan *sc) {
    if (!sc->has_cut)
        return;
    if (sc->cut.drop_snapshot) {
        sc->sv->has_base = false;
        sc->sv->reach = 0;
        sc->count = 0;
    }
    while (sc->count > 0 && sc->names[sc->count - 1] > sc->cut.segment)
        sc->count--;
    if (sc->cut.last_zxid > sc->sv->known_end)
        sc->sv->known_end = sc->cut.last_zxid;
    /* The last one that is there is not the one that it ends in. */
    if (sc->count > 0 && sc->names[sc->count - 1] != sc->cut.segment)
        sc->cut.offset = UINT64_MAX;
}

static int list_segments(struct log_scan *sc) {
    const struct store_dir *d = sc->sv->dir;
    int err = d->files->list(d->files->ctx, d->path, collect, sc);
    if (err < 0)
        buf_printf(sc->why, "%s: cannot be listed: %s", d->path, strerror(-err));
    else if (sc->count > 0)
        qsort(sc->names, sc->count, sizeof *sc->names, compare_zxid);
    return err;
}

int survey_log(struct survey *sv, struct buf *ret_why) {
    struct log_scan sc = {.sv = sv, .why = ret_why, .fd = -1};
    zxid_t empty = 0;
    int err = read_cut(&sc);
    if (err == 0)
        err = list_segments(&sc);
    if (err == 0)
        apply_cut(&sc);
    if (err == 0)
        err = set_empty_aside(&sc, &empty);
    for (size_t i = 0; err == 0 && i < sc.count; i++)
        err = read_segment(&sc, i);
    bool had_log = sv->promised_log ? sv->run_count > 0 : sc.count > 0 || empty != 0;
    /* A seal's successor is durable before the seal is, with its header; nobody knows what it had.
     */
    if (sc.sealed && (sc.before.next_zxid != empty || sc.headless) && !sc.has_cut) {
        say_missing(&sc, sc.before.next_zxid);
        sv->tail_lost = true;
    }
    if (!had_log && !(sc.has_cut && sc.cut.segment == 0) && (sv->has_base || sv->epoch > 0))
        sv->tail_lost = true;
    mem_free(sc.names);
    return err;
}
