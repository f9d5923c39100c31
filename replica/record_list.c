#include "replica/record_list.h"

#include "common/mem.h"

void record_list_add(void *list, const struct log_record *r) {
    struct record_list *l = list;
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->records = mem_realloc(l->records, l->cap * sizeof *l->records);
    }
    l->records[l->count++] = *r;
    if (r->payload.len > 0)
        buf_put(&l->bytes, r->payload.p, (size_t)r->payload.len);
}

void record_list_end(struct record_list *list) {
    size_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct slice *payload = &list->records[i].payload;
        if (payload->len <= 0)
            continue;
        payload->p = list->bytes.data + at;
        at += (size_t)payload->len;
    }
}

void record_list_close(struct record_list *list) {
    mem_free(list->records);
    buf_close(&list->bytes);
    *list = (struct record_list){0};
}
