#include "common/cursor.h"
#include "common/mem.h"
#include "replica/io/files_posix.h"
#include "replica/offline/dump_text.h"
#include "replica/offline/frames.h"
#include "replica/offline/offline.h"
#include "replica/offline/offline_target.h"
#include "replica/offline/store_list.h"
#include "replica/store/epoch_file.h"
#include "replica/store/wal_truncate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dump {
    zxid_t from; /* records before it are left out, and what is in snapshots */
    bool verbose;
    bool damaged;
    struct buf out;
};

static void flush(struct dump *d) {
    fwrite(d->out.data, 1, d->out.len, stdout);
    buf_reset(&d->out);
}

static void put_damage(struct dump *d, const char *path, const struct frame *f) {
    d->damaged = true;
    buf_printf(&d->out,
               "DAMAGED %s: offset %" PRIu64 ": %" PRIu64 " bytes that are no whole frame\n", path,
               f->at, f->size_bytes);
}

/* ---- a snapshot ---- */

static bool put_head(void *ctx, const struct snap_head *h) {
    dump_text_head(&((struct dump *)ctx)->out, h);
    return true;
}

static bool put_znode(void *ctx, const struct znode_image *image) {
    struct dump *d = ctx;
    dump_text_znode(&d->out, image);
    flush(d);
    return true;
}

static bool put_session(void *ctx, const struct snap_session *s) {
    dump_text_session(&((struct dump *)ctx)->out, s);
    return true;
}

static bool put_walk(void *ctx, const struct snap_walk *w) {
    buf_printf(&((struct dump *)ctx)->out, "walk begun=0x%" PRIx64 " ended=0x%" PRIx64 "\n",
               w->begun, w->ended);
    return true;
}

static bool put_inner_record(void *ctx, const struct log_record *r) {
    dump_text_record(&((struct dump *)ctx)->out, r);
    return true;
}

static bool put_digest(void *ctx, const struct snap_digest *s) {
    buf_printf(&((struct dump *)ctx)->out, "digest zxid=0x%" PRIx64 " digest=%016" PRIx64 "\n",
               s->zxid, s->digest);
    return true;
}

static void put_piece(struct dump *d, const char *path, const struct frame *f) {
    struct snap_reader reader = {d,        put_head,         put_znode, put_session,
                                 put_walk, put_inner_record, put_digest};
    if (d->verbose)
        buf_printf(&d->out, "piece offset=%" PRIu64 " bytes=%d\n", f->at, f->body.len);
    if (d->from > 0 || snap_read_piece(f->body, &reader))
        return;
    d->damaged = true;
    buf_printf(&d->out,
               "DAMAGED %s: offset %" PRIu64 ": a piece with the right checksum that cannot be "
               "read to its end\n",
               path, f->at);
}

static void put_end(struct dump *d, const struct frame *f) {
    struct cursor c;
    cursor_init(&c, f->body.p, (size_t)f->body.len);
    uint64_t begun = cursor_u64be(&c), ended = cursor_u64be(&c), pieces = cursor_u64be(&c);
    buf_printf(&d->out, "end begun=0x%" PRIx64 " ended=0x%" PRIx64 " pieces=%" PRIu64 "\n", begun,
               ended, pieces);
}

/* ---- the log ---- */

static void put_record(struct dump *d, const char *path, const struct frame *f) {
    struct log_record r;
    if (!log_record_decode(f->body, &r)) {
        d->damaged = true;
        buf_printf(&d->out,
                   "DAMAGED %s: offset %" PRIu64 ": a record with the right checksum that cannot "
                   "be read\n",
                   path, f->at);
        return;
    }
    if (r.zxid < d->from)
        return;
    if (d->verbose)
        buf_printf(&d->out, "record offset=%" PRIu64 " committed=0x%" PRIx64 "\n", f->at,
                   r.committed);
    dump_text_record(&d->out, &r);
}

static void put_frame(struct dump *d, const char *path, const struct frame *f) {
    switch (f->kind) {
    case FRAME_RECORD:
        put_record(d, path, f);
        break;
    case FRAME_MARK:
        if (d->verbose && f->mark.last_zxid >= d->from)
            dump_text_mark(&d->out, &f->mark);
        break;
    case FRAME_PIECE:
        put_piece(d, path, f);
        break;
    case FRAME_SNAPSHOT_END:
        put_end(d, f);
        break;
    case FRAME_DAMAGE:
        put_damage(d, path, f);
        break;
    case FRAME_NONE:
        break;
    }
}

static void put_file_head(struct dump *d, const char *path, const struct frames *f) {
    if (f->head_damaged) {
        d->damaged = true;
        buf_printf(&d->out, "DAMAGED %s: offset 0: its head\n", path);
    } else if (f->file == FRAMES_LOG) {
        buf_printf(&d->out,
                   "segment %s version=%u first_zxid=0x%" PRIx64 " prev_zxid=0x%" PRIx64
                   " bytes=%" PRIu64 "\n",
                   path, f->header.version, f->header.first_zxid, f->header.prev_zxid,
                   f->reader.size_bytes);
    } else {
        buf_printf(&d->out, "snapshot %s bytes=%" PRIu64 "\n", path, f->reader.size_bytes);
    }
}

static int dump_file(struct dump *d, const char *path) {
    struct frames f;
    struct buf why = BUF_INIT;
    int err = frames_open(&f, &files_posix, path, &why);
    if (err < 0) {
        d->damaged |= err == -EBADMSG;
        buf_printf(&d->out, "%s%s: %.*s\n", err == -EBADMSG ? "DAMAGED " : "", path, (int)why.len,
                   (const char *)why.data);
        buf_close(&why);
        return err == -EBADMSG || err == -ENODATA ? 0 : err;
    }
    put_file_head(d, path, &f);
    struct frame frame = {.kind = FRAME_RECORD};
    while (err == 0 && frame.kind != FRAME_NONE) {
        err = frames_next(&f, &frame);
        if (err == 0)
            put_frame(d, path, &frame);
        flush(d);
    }
    if (err < 0)
        buf_printf(&d->out, "%s: cannot be read: %s\n", path, strerror(-err));
    frames_close(&f);
    return err;
}

/* ---- the directory ---- */

static void put_small_files(struct dump *d, const char *dir) {
    struct store_dir sd = {.files = &files_posix, .path = (char *)(uintptr_t)dir};
    struct epoch_file epoch;
    struct wal_cut cut;
    struct buf why = BUF_INIT;
    bool there = false;
    if (epoch_file_read(&sd, &epoch, &why) == 0) {
        for (size_t i = 0; i < EPOCH_COPIES; i++)
            buf_printf(&d->out, "promise copy=%zu %s epoch=%u%s%s\n", i + 1,
                       epoch.copies[i] == EPOCH_COPY_WHOLE    ? "whole"
                       : epoch.copies[i] == EPOCH_COPY_ABSENT ? "absent"
                                                              : "DAMAGED",
                       epoch.said[i], (epoch.said_flags[i] & EPOCH_LOSSY) != 0 ? " lossy" : "",
                       (epoch.said_flags[i] & EPOCH_LOG) != 0 ? " log" : "");
        d->damaged |=
            epoch.copies[0] == EPOCH_COPY_DAMAGED || epoch.copies[1] == EPOCH_COPY_DAMAGED;
    }
    if (wal_cut_read(&sd, &there, &cut, &why) == 0 && there)
        buf_printf(&d->out, "cut last_zxid=0x%" PRIx64 " offset=%" PRIu64 "\n", cut.last_zxid,
                   cut.offset);
    if (why.len > 0) {
        d->damaged = true;
        buf_printf(&d->out, "DAMAGED %.*s\n", (int)why.len, (const char *)why.data);
    }
    buf_close(&why);
}

static int dump_dir(struct dump *d, const char *dir, const struct store_list *l) {
    int err = 0;
    put_small_files(d, dir);
    for (size_t i = 0; err == 0 && i < l->count; i++) {
        if (l->list[i].part == STORE_OTHER) {
            buf_printf(&d->out, "file %s\n", l->list[i].name);
            continue;
        }
        char *path = store_file_path(dir, l->list[i].name);
        err = dump_file(d, path);
        mem_free(path);
    }
    flush(d);
    return err;
}

static int dump(struct dump *d, const char *path) {
    struct store_list l;
    int err = store_list_read(&l, &files_posix, path);
    if (err == -ENOTDIR) {
        err = dump_file(d, path);
    } else if (err < 0) {
        fprintf(stderr, "zkreplica: %s: %s\n", path, strerror(-err));
    } else {
        err = dump_dir(d, path, &l);
        store_list_close(&l);
    }
    flush(d);
    buf_close(&d->out);
    return err < 0 ? offline_code(err) : d->damaged ? OFFLINE_REFUSED : OFFLINE_DONE;
}

int offline_dump(int argc, char **argv) {
    struct dump d = {0};
    const char *path = NULL;
    for (int i = 0; i < argc; i++) {
        char *end = NULL;
        if (strcmp(argv[i], "-v") == 0) {
            d.verbose = true;
        } else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) {
            d.from = (zxid_t)strtoull(argv[++i], &end, 0);
            if (*argv[i] == '\0' || *end != '\0' || d.from < 0)
                return OFFLINE_USAGE;
        } else if (argv[i][0] == '-' || path) {
            return OFFLINE_USAGE;
        } else {
            path = argv[i];
        }
    }
    return path ? dump(&d, path) : OFFLINE_USAGE;
}
