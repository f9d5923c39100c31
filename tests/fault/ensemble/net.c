/* ensemble_net COUNT: a network of COUNT hosts for tests that break it. Each host is a network
 * namespace of its own with the address 10.77.0.I and one TUN device, and this process is the wire
 * between them: what a host sends comes here and is passed on, dropped, lost or delayed, for each
 * ordered pair of hosts by itself. That needs neither netem nor a packet filter in the kernel, a
 * connection that is cut sees silence and no reset, and everything is gone when this process ends:
 * the namespaces have no names, and the devices live as long as their descriptors.
 *
 * It prints `host I PID FD` for each: /proc/PID/fd/FD is the namespace, for setns(2). Then it takes
 * commands from standard input, a line each, and answers each with `ok` or `no`:
 *
 *   cut A B               nothing comes from A to B
 *   slow A B MS PERMILLE  it takes MS milliseconds longer, and PERMILLE of 1,000 packets are lost
 *   heal                  everything passes, at once
 *   count                 prints `passed N dropped N` besides
 *
 * It ends with its standard input. */
#include "common/prng.h"
#include "tests/bench/sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HOSTS_MAX 16
/* Few packets for much data: only this process looks at each. */
#define MTU 9000
/* Packets under way between two hosts; what is beyond is lost, as in a full router. */
#define QUEUE_MAX 2048
/* Packets taken from one host before the others have their turn. */
#define BURST 64

struct packet {
    struct packet *next;
    int64_t due_ns;
    size_t len;
    uint8_t bytes[];
};

/* From one host to another. The delay is the same for all packets, so that they stay in order. */
struct wire {
    bool cut;
    int64_t delay_ns;
    uint32_t loss_permille;
    struct packet *first, **last;
    int count;
};

struct net {
    int hosts;
    int tun[HOSTS_MAX];
    struct wire wires[HOSTS_MAX][HOSTS_MAX];
    struct prng prng;
    unsigned long long passed, dropped;
};

static void die(const char *what) {
    fprintf(stderr, "ensemble_net: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void set_up(int s, const char *name, int mtu) {
    struct ifreq r = {0};
    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    r.ifr_mtu = mtu;
    if (mtu > 0 && ioctl(s, SIOCSIFMTU, &r) != 0)
        die("SIOCSIFMTU");
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &r) != 0)
        die("SIOCSIFFLAGS");
}

static void set_address(int s, unsigned long request, uint32_t address) {
    struct ifreq r = {.ifr_name = "zk0"};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    memcpy(&r.ifr_addr, &a, sizeof a);
    if (ioctl(s, request, &r) != 0)
        die("address");
}

/* Enters a new namespace and makes host i of it. */
static int host_new(int i) {
    if (unshare(CLONE_NEWNET) != 0)
        die("unshare (root is needed)");
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0)
        die("/dev/net/tun");
    struct ifreq r = {.ifr_name = "zk0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    if (ioctl(tun, TUNSETIFF, &r) != 0)
        die("TUNSETIFF");
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        die("socket");
    set_up(s, "lo", 0);
    set_address(s, SIOCSIFADDR, 0x0a4d0000u + (uint32_t)i);
    set_address(s, SIOCSIFNETMASK, 0xffffff00u);
    set_up(s, "zk0", MTU);
    close(s);
    return tun;
}

static void deliver(struct net *n, int to, const uint8_t *bytes, size_t len) {
    /* A full device drops, as any does. */
    if (write(n->tun[to], bytes, len) == (ssize_t)len)
        n->passed++;
    else
        n->dropped++;
}

static void put_in_queue(struct net *n, struct wire *w, const uint8_t *bytes, size_t len) {
    struct packet *p = w->count < QUEUE_MAX ? malloc(sizeof *p + len) : NULL;
    if (p == NULL) {
        n->dropped++;
        return;
    }
    *p = (struct packet){.due_ns = sample_now_ns() + w->delay_ns, .len = len};
    memcpy(p->bytes, bytes, len);
    if (w->first == NULL)
        w->last = &w->first;
    *w->last = p;
    w->last = &p->next;
    w->count++;
}

static void pass(struct net *n, int from, const uint8_t *bytes, size_t len) {
    struct iphdr ip;
    if (len < sizeof ip)
        return;
    memcpy(&ip, bytes, sizeof ip);
    uint32_t to = ntohl(ip.daddr) - 0x0a4d0000u - 1;
    /* What the kernel says on its own, to multicast groups or in IPv6. */
    if (ip.version != 4 || to >= (uint32_t)n->hosts)
        return;
    struct wire *w = &n->wires[from][to];
    if (w->cut || (w->loss_permille > 0 && prng_chance(&n->prng, w->loss_permille, 1000)))
        n->dropped++;
    else if (w->delay_ns > 0 || w->first != NULL)
        put_in_queue(n, w, bytes, len);
    else
        deliver(n, (int)to, bytes, len);
}

static void drain_host(struct net *n, int from) {
    uint8_t bytes[MTU + 64];
    for (int i = 0; i < BURST; i++) {
        ssize_t len = read(n->tun[from], bytes, sizeof bytes);
        if (len <= 0)
            return;
        pass(n, from, bytes, (size_t)len);
    }
}

static void drain_wire(struct net *n, struct wire *w, int to, int64_t now_ns) {
    while (w->first != NULL && w->first->due_ns <= now_ns) {
        struct packet *p = w->first;
        w->first = p->next;
        w->count--;
        deliver(n, to, p->bytes, p->len);
        free(p);
    }
}

/* Delivers what is due; returns when the next packet is, INT64_MAX when none is under way. */
static int64_t drain_wires(struct net *n) {
    int64_t now = sample_now_ns(), next = INT64_MAX;
    for (int a = 0; a < n->hosts; a++) {
        for (int b = 0; b < n->hosts; b++) {
            struct wire *w = &n->wires[a][b];
            drain_wire(n, w, b, now);
            if (w->first != NULL && w->first->due_ns < next)
                next = w->first->due_ns;
        }
    }
    return next;
}

static void heal(struct net *n) {
    for (int a = 0; a < n->hosts; a++) {
        for (int b = 0; b < n->hosts; b++) {
            struct wire *w = &n->wires[a][b];
            w->cut = false;
            w->delay_ns = 0;
            w->loss_permille = 0;
            drain_wire(n, w, b, INT64_MAX);
        }
    }
}

static bool command(struct net *n, const char *line) {
    unsigned a, b, ms, permille;
    bool cut = sscanf(line, "cut %u %u", &a, &b) == 2;
    bool slow = !cut && sscanf(line, "slow %u %u %u %u", &a, &b, &ms, &permille) == 4;
    if (cut || slow) {
        if (a < 1 || b < 1 || a > (unsigned)n->hosts || b > (unsigned)n->hosts)
            return false;
        struct wire *w = &n->wires[a - 1][b - 1];
        if (cut) {
            w->cut = true;
        } else {
            w->delay_ns = ms * (int64_t)1000000;
            w->loss_permille = permille;
        }
        return true;
    }
    if (strcmp(line, "count") == 0) {
        printf("passed %llu dropped %llu\n", n->passed, n->dropped);
        return true;
    }
    if (strcmp(line, "heal") != 0)
        return false;
    heal(n);
    return true;
}

/* Reads commands; false at the end of the input. */
static bool read_commands(struct net *n) {
    static char text[4096];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (got <= 0)
        return false;
    len += (size_t)got;
    text[len] = '\0';
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        *end = '\0';
        puts(command(n, text) ? "ok" : "no");
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len + 1);
    }
    fflush(stdout);
    return len < sizeof text - 1;
}

static void run(struct net *n) {
    struct pollfd fds[HOSTS_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    for (int i = 0; i < n->hosts; i++)
        fds[i + 1] = (struct pollfd){.fd = n->tun[i], .events = POLLIN};
    for (;;) {
        int64_t next = drain_wires(n), wait = next == INT64_MAX ? -1 : next - sample_now_ns();
        struct timespec t = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
        if (wait < 0 && next != INT64_MAX)
            t = (struct timespec){0};
        if (ppoll(fds, (nfds_t)n->hosts + 1, next == INT64_MAX ? NULL : &t, NULL) < 0 &&
            errno != EINTR)
            die("poll");
        for (int i = 0; i < n->hosts; i++)
            if (fds[i + 1].revents != 0)
                drain_host(n, i);
        if (fds[0].revents != 0 && !read_commands(n))
            return;
    }
}

int main(int argc, char **argv) {
    static struct net n;
    n.hosts = argc == 2 ? (int)sample_number(argv[1]) : 0;
    if (n.hosts < 1 || n.hosts > HOSTS_MAX) {
        fprintf(stderr, "usage: ensemble_net COUNT (1 to %d)\n", HOSTS_MAX);
        return 2;
    }
    prng_init(&n.prng, (uint64_t)sample_now_ns());
    for (int i = 0; i < n.hosts; i++) {
        n.tun[i] = host_new(i + 1);
        int ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (ns < 0)
            die("/proc/thread-self/ns/net");
        printf("host %d %d %d\n", i + 1, (int)getpid(), ns);
    }
    fflush(stdout);
    run(&n);
    return 0;
}
