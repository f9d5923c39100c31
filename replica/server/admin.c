#include "replica/server/admin.h"

#include "common/path.h"
#include "replica/server/admin_ensemble.h"
#include "replica/server/checkpoint.h"
#include "replica/server/digest.h"
#include "replica/server/full.h"
#include "replica/server/limits.h"
#include "replica/server/read_only.h"

#include <string.h>

/* One word being answered. */
struct word {
    struct replica *r;
    struct conn *conn;
    const struct process_info *process;
    struct buf *out;
};

static const char not_serving[] = "This ZooKeeper instance is not currently serving requests\n";
/* ZooKeeper alone answers srvr by default; these harm nobody and every operator asks for them. */
static const char default_whitelist[] = "srvr,ruok,stat,mntr,conf,isro";

static int64_t min_or_zero(int64_t min) { return min == INT64_MAX ? 0 : min; }

/* As Java prints a double that was rounded to four places. */
static void print_average(struct buf *out, int64_t total, int64_t count) {
    int64_t e4 = count > 0 ? (total * 10000 * 2 / count + 1) / 2 : 0;
    char frac[5];
    int64_t f = e4 % 10000;
    for (int i = 3; i >= 0; i--, f /= 10)
        frac[i] = (char)('0' + f % 10);
    int len = 4;
    while (len > 1 && frac[len - 1] == '0')
        len--;
    buf_printf(out, "%lld.%.*s", (long long)(e4 / 10000), len, frac);
}

static void print_addr(struct buf *out, const struct conn *c) {
    char addr[ADDR_TEXT_MAX];
    auth_addr_text(c->addr, c->addr_len, addr);
    buf_printf(out, c->addr_len == 4 ? "/%s:%u" : "/[%s]:%u", addr, c->port);
}

static void print_conn_session(struct buf *out, const struct conn *c) {
    const struct conn_stats *s = &c->stats;
    buf_printf(out, ",sid=0x%llx,lop=%s,est=%lld,to=%d", (unsigned long long)c->session->id,
               s->last_op, (long long)c->opened_wall_ms, c->session->timeout_ms);
    if (s->last_cxid >= 0)
        buf_printf(out, ",lcxid=0x%llx", (unsigned long long)s->last_cxid);
    buf_printf(out, ",lzxid=0x%llx,lresp=%lld,llat=%lld,minlat=%lld,avglat=%lld,maxlat=%lld",
               (unsigned long long)s->last_zxid, (long long)s->last_response_ms,
               (long long)s->last_latency_ms, (long long)min_or_zero(s->min_latency_ms),
               (long long)(s->count > 0 ? s->total_latency_ms / s->count : 0),
               (long long)s->max_latency_ms);
}

static void print_conn(const struct word *w, const struct conn *c, bool brief) {
    buf_printf(w->out, " ");
    print_addr(w->out, c);
    /* Java's interest in the socket: 1 is reading, 0 neither. */
    int interest = c->paused || c == w->conn ? 0 : 1;
    buf_printf(w->out, "[%d](queued=%u,recved=%llu,sent=%llu", interest, c->queued,
               (unsigned long long)c->stats.received, (unsigned long long)c->stats.sent);
    if (!brief && c->session)
        print_conn_session(w->out, c);
    buf_printf(w->out, ")\n");
}

static void word_ruok(const struct word *w) { buf_printf(w->out, "imok"); }

static void word_isro(const struct word *w) {
    const char *text = read_only_active(w->r) ? "ro" : "null";
    buf_printf(w->out, "%s", w->r->leading || w->r->serving ? "rw" : text);
}

/* Java's table of znodes holds the root twice, as "" and as "/", and counts both. */
static uint64_t shown_znodes(const struct replica *r) { return tree_znode_count(r->tree) + 1; }

static void print_server(const struct word *w) {
    const struct replica *r = w->r;
    const struct server_stats *s = &r->stats;
    buf_printf(w->out, "Latency min/avg/max: %lld/", (long long)min_or_zero(s->min_latency_ms));
    print_average(w->out, s->total_latency_ms, s->latency_count);
    buf_printf(w->out, "/%lld\nReceived: %llu\nSent: %llu\nConnections: %llu\n",
               (long long)s->max_latency_ms, (unsigned long long)s->received,
               (unsigned long long)s->sent, (unsigned long long)r->conns.count);
    buf_printf(w->out, "Outstanding: %llu\nZxid: 0x%llx\nMode: %s\nNode count: %llu\n",
               (unsigned long long)r->queued, (unsigned long long)core_last_zxid(r), admin_mode(r),
               (unsigned long long)shown_znodes(r));
    admin_proposal_sizes(r, w->out);
    full_line(r, w->out);
}

/* Clients parse the number: kazoo and monitoring tools choose by it what they may use. It names the
 * release whose protocol this is. */
#define PROTOCOL_VERSION "3.8.0"

static const char *version_text(const struct replica *r) {
    return r->config.version ? r->config.version : "zkfs";
}

static void print_version(const struct word *w) {
    buf_printf(w->out, "Zookeeper version: " PROTOCOL_VERSION "-%s\n", version_text(w->r));
}

static void word_srvr(const struct word *w) {
    print_version(w);
    print_server(w);
}

static void print_conns(const struct word *w, bool brief) {
    for (const struct conn *c = w->r->conns.all; c; c = c->next)
        print_conn(w, c, brief);
    buf_printf(w->out, "\n");
}

static void word_stat(const struct word *w) {
    print_version(w);
    buf_printf(w->out, "Clients:\n");
    print_conns(w, true);
    print_server(w);
}

static void word_cons(const struct word *w) { print_conns(w, false); }

static void word_crst(const struct word *w) {
    for (struct conn *c = w->r->conns.all; c; c = c->next)
        conn_stats_reset(&c->stats);
    buf_printf(w->out, "Connection stats reset.\n");
}

static void word_srst(const struct word *w) {
    core_reset_stats(w->r);
    buf_printf(w->out, "Server stats reset.\n");
}

static void word_dirs(const struct word *w) {
    buf_printf(w->out, "datadir_size: %lld\nlogdir_size: %lld\n",
               (long long)w->process->data_dir_bytes, (long long)w->process->log_dir_bytes);
}

static void word_envi(const struct word *w) {
    buf_printf(w->out, "Environment:\nzookeeper.version=" PROTOCOL_VERSION "-%s\n",
               version_text(w->r));
}

static void word_wchs(const struct word *w) {
    buf_printf(w->out, "%llu connections watching %llu paths\nTotal watches:%llu\n",
               (unsigned long long)watch_watcher_count(w->r->watches),
               (unsigned long long)watch_path_count(w->r->watches),
               (unsigned long long)watch_count(w->r->watches));
}

static void word_conf(const struct word *w) {
    const struct replica_config *c = &w->r->config;
    buf_printf(w->out, "clientPort=%d\nsecureClientPort=-1\n", c->client_port);
    buf_printf(w->out, "dataDir=%s\ndataDirSize=%lld\n", c->data_dir ? c->data_dir : "",
               (long long)w->process->data_dir_bytes);
    buf_printf(w->out, "dataLogDir=%s\ndataLogSize=%lld\n", c->data_log_dir ? c->data_log_dir : "",
               (long long)w->process->log_dir_bytes);
    buf_printf(w->out, "tickTime=%d\nmaxClientCnxns=%d\n", c->tick_ms, c->max_conns_per_ip);
    buf_printf(w->out, "minSessionTimeout=%d\nmaxSessionTimeout=%d\n", c->min_session_timeout_ms,
               c->max_session_timeout_ms);
    buf_printf(w->out, "clientPortListenBacklog=%d\nserverId=%d\n", c->listen_backlog,
               c->server_id);
    admin_conf(w->r, w->out);
}

static void print_gauge(const struct word *w, const char *name, int64_t value) {
    buf_printf(w->out, "zk_%s\t%lld\n", name, (long long)value);
}

/* ZooKeeper's summary `fsynctime`, in ms. */
static void print_syncs(const struct word *w) {
    const struct process_info *p = w->process;
    buf_printf(w->out, "zk_avg_fsynctime\t");
    print_average(w->out, p->sync_total_us, p->sync_count * 1000);
    buf_printf(w->out, "\n");
    print_gauge(w, "max_fsynctime", p->sync_max_us / 1000);
    print_gauge(w, "cnt_fsynctime", p->sync_count);
    print_gauge(w, "sum_fsynctime", p->sync_total_us / 1000);
}

static void print_checkpoint_gauges(const struct word *w) {
    struct checkpoint_info info;
    checkpoint_info(w->r, &info);
    buf_printf(w->out, "zk_snapshot_zxid\t0x%llx\n", (unsigned long long)info.zxid);
    print_gauge(w, "snapshot_count", (int64_t)info.saved);
    print_gauge(w, "snapshot_error_count", (int64_t)info.failed);
    print_gauge(w, "snapshot_in_progress", info.under_way);
    print_gauge(w, "last_snapshottime", info.last_ms);
    print_gauge(w, "last_snapshot_bytes", (int64_t)info.last_bytes);
}

static void word_mntr(const struct word *w) {
    const struct replica *r = w->r;
    const struct server_stats *s = &r->stats;
    buf_printf(w->out, "zk_version\t" PROTOCOL_VERSION "-%s\nzk_server_state\t%s\n",
               version_text(r), admin_mode(r));
    buf_printf(w->out, "zk_avg_latency\t");
    print_average(w->out, s->total_latency_ms, s->latency_count);
    buf_printf(w->out, "\n");
    print_gauge(w, "max_latency", s->max_latency_ms);
    print_gauge(w, "min_latency", min_or_zero(s->min_latency_ms));
    print_gauge(w, "packets_received", (int64_t)s->received);
    print_gauge(w, "packets_sent", (int64_t)s->sent);
    print_gauge(w, "num_alive_connections", (int64_t)r->conns.count);
    print_gauge(w, "outstanding_requests", (int64_t)r->queued);
    print_gauge(w, "znode_count", (int64_t)shown_znodes(r));
    print_gauge(w, "watch_count", (int64_t)watch_count(r->watches));
    print_gauge(w, "recent_change_count", r->recent.count);
    print_gauge(w, "recent_change_bytes", (int64_t)r->recent.bytes);
    print_gauge(w, "ephemerals_count", (int64_t)tree_ephemeral_count(r->tree));
    print_gauge(w, "approximate_data_size", (int64_t)tree_data_bytes(r->tree));
    print_gauge(w, "open_file_descriptor_count", w->process->open_fds);
    print_gauge(w, "max_file_descriptor_count", w->process->max_fds);
    print_gauge(w, "global_sessions", (int64_t)r->sessions.count);
    print_gauge(w, "local_sessions", 0);
    print_gauge(w, "uptime", r->mono_ms - r->started_ms);
    print_gauge(w, "auth_failed_count", (int64_t)s->auth_failed);
    print_gauge(w, "digest_mismatches_count", (int64_t)digest_mismatches(r));
    buf_printf(w->out, "zk_connection_drop_probability\t0.0\n");
    print_gauge(w, "outstanding_tls_handshake", 0);
    print_gauge(w, "last_client_response_size", s->last_reply_bytes);
    print_gauge(w, "max_client_response_size", s->max_reply_bytes);
    print_gauge(w, "min_client_response_size", s->min_reply_bytes);
    print_gauge(w, "non_mtls_local_conn_count", 0);
    print_gauge(w, "non_mtls_remote_conn_count", 0);
    print_checkpoint_gauges(w);
    print_syncs(w);
    print_gauge(w, "disk_full", r->full);
    admin_gauges(r, w->out);
}

static void word_hash(const struct word *w) { digest_print(w->r, w->out); }

/* The session's due time is a Java Date there; here it is counted from now. Only the leader knows
 * it. */
static void dump_sessions(const struct word *w) {
    const struct replica *r = w->r;
    buf_printf(w->out, "SessionTracker dump:\n");
    if (r->leading)
        buf_printf(w->out, "Session Sets (%llu)/(%llu):\n", (unsigned long long)r->sessions.count,
                   (unsigned long long)r->sessions.count);
    else
        buf_printf(w->out, "Global Sessions(%llu):\n", (unsigned long long)r->sessions.count);
    for (const struct session *s = r->sessions.all; s; s = s->next) {
        if (r->leading)
            buf_printf(w->out, "1 expire in %lld ms:\n\t0x%llx\n",
                       (long long)(s->expires_ms - r->sessions.clock_ms),
                       (unsigned long long)s->id);
        else
            buf_printf(w->out, "0x%llx\t%dms\n", (unsigned long long)s->id, s->timeout_ms);
    }
}

static void word_dump(const struct word *w) {
    const struct replica *r = w->r;
    dump_sessions(w);
    buf_printf(w->out, "ephemeral nodes dump:\nSessions with Ephemerals (%llu):\n",
               (unsigned long long)tree_owner_count(r->tree));
    for (const struct session *s = r->sessions.all; s; s = s->next) {
        void *at = NULL;
        bool first = true;
        for (const struct znode *n; (n = tree_next_ephemeral(r->tree, s->id, &at));) {
            if (w->out->len > WORD_BYTES_MAX)
                return;
            if (first)
                buf_printf(w->out, "0x%llx:\n", (unsigned long long)s->id);
            first = false;
            struct blob *path = znode_path(n);
            buf_printf(w->out, "\t%.*s\n", (int)path->len, (const char *)path->bytes);
            blob_unref(path);
        }
    }
    buf_printf(w->out, "Connections dump:\nConnections Sets (%llu)/(%llu):\n",
               (unsigned long long)r->conns.count, (unsigned long long)r->conns.count);
    for (const struct conn *c = r->conns.all; c; c = c->next) {
        buf_printf(w->out, "\tip: ");
        print_addr(w->out, c);
        buf_printf(w->out, " sessionId: 0x%llx\n", (unsigned long long)conn_session_id(c));
    }
}

static const struct {
    const char *name;
    void (*fn)(const struct word *w);
    bool always; /* answered before this replica serves, too */
} words[] = {
    {"ruok", word_ruok, true},  {"isro", word_isro, true},  {"srvr", word_srvr, false},
    {"stat", word_stat, false}, {"mntr", word_mntr, false}, {"conf", word_conf, false},
    {"cons", word_cons, false}, {"crst", word_crst, false}, {"srst", word_srst, false},
    {"dirs", word_dirs, false}, {"envi", word_envi, true},  {"wchs", word_wchs, false},
    {"dump", word_dump, false}, {"hash", word_hash, false},
};

/* Words that ZooKeeper knows and this version does not answer, whatever the whitelist says. */
static const char *const unanswered[] = {"wchc", "wchp", "gtmk", "stmk", "snap"};

bool admin_whitelisted(const char *whitelist, struct slice word) {
    const char *list = whitelist ? whitelist : default_whitelist;
    while (*list) {
        size_t n = strcspn(list, ", \t");
        struct slice entry = {(const uint8_t *)list, (int32_t)n};
        if (slice_equal(entry, word) || slice_equal_str(entry, "*"))
            return true;
        list += n;
        list += strspn(list, ", \t");
    }
    return false;
}

static void print_not_serving(const struct word *w) {
    buf_printf(w->out, "%s", not_serving);
    full_line(w->r, w->out);
}

/* False for what is no word at all. */
static bool answer_word(const struct word *w, struct slice name) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!slice_equal_str(name, words[i].name))
            continue;
        if (!admin_whitelisted(w->r->config.word_whitelist, name))
            break;
        if (!admin_serves(w->r) && !words[i].always)
            print_not_serving(w);
        else
            words[i].fn(w);
        return true;
    }
    bool known = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        known = known || slice_equal_str(name, words[i].name);
    for (size_t i = 0; i < sizeof unanswered / sizeof unanswered[0]; i++)
        known = known || slice_equal_str(name, unanswered[i]);
    if (known)
        buf_printf(w->out, "%.4s is not executed because it is not in the whitelist.",
                   (const char *)name.p);
    return known;
}

void admin_word(struct replica *r, struct conn *c, struct slice word,
                const struct process_info *process) {
    static const struct process_info nothing;
    struct buf text = BUF_INIT;
    struct word w = {.r = r, .conn = c, .process = process ? process : &nothing, .out = &text};
    c->stats.received++;
    r->stats.received++;
    if (slice_equal_str(word, "snap") && admin_whitelisted(r->config.word_whitelist, word)) {
        checkpoint_ask(r, c); /* which answers when the disk has */
    } else if (answer_word(&w, word)) {
        out_bytes(&r->out, c->id, text.data, text.len);
        r->stats.sent++;
        core_hang_up(r, c);
    } else {
        core_close_conn(r, c, "an unknown word");
    }
    buf_close(&text);
}
