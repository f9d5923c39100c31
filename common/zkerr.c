#include "common/zkerr.h"

const char *zkerr_text(int code) {
    switch (code) {
#define ZK_ERR(name, number, text)                                                                 \
    case number:                                                                                   \
        return text;
#include "common/zkerr.def"
#undef ZK_ERR
    default:
        return "unknown error";
    }
}

bool zkerr_is_passing(int code) {
    return code == ZK_CONNECTIONLOSS || code == ZK_OPERATIONTIMEOUT || code == ZK_SESSIONEXPIRED ||
           code == ZK_SESSIONMOVED || code == ZK_NOTREADONLY || code == ZK_THROTTLEDOP;
}
