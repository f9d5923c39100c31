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
