#include "fs/errmap.h"

#include "common/zkerr.h"

#include <errno.h>

int errmap_errno(int zk_err) {
    switch (zk_err) {
    case ZK_OK:
        return 0;
    case ZK_NONODE:
        return ENOENT;
    case ZK_NODEEXISTS:
        return EEXIST;
    case ZK_NOTEMPTY:
        return ENOTEMPTY;
    case ZK_NOAUTH:
    case ZK_AUTHFAILED:
    case ZK_SESSIONCLOSEDREQUIRESASLAUTH:
        return EACCES;
    case ZK_BADVERSION:
    case ZK_SESSIONEXPIRED:
        return ESTALE;
    case ZK_NOCHILDRENFOREPHEMERALS:
    case ZK_EPHEMERALONLOCALSESSION:
        return EPERM;
    case ZK_BADARGUMENTS:
    case ZK_INVALIDACL:
        return EINVAL;
    case ZK_QUOTAEXCEEDED:
        return EDQUOT;
    case ZK_MARSHALLINGERROR: /* fs/zk: the request or the answer is longer than a frame may be */
        return EFBIG;
    case ZK_NOTREADONLY:
        return EROFS;
    case ZK_UNIMPLEMENTED: /* an old server */
        return EOPNOTSUPP;
    case ZK_THROTTLEDOP:
        return EBUSY;
    default: /* CONNECTIONLOSS and OPERATIONTIMEOUT among them */
        return EIO;
    }
}
