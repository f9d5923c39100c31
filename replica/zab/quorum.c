#include "replica/zab/quorum.h"

uint32_t quorum_size(uint32_t voters) { return voters / 2 + 1; }

zxid_t quorum_acked(const zxid_t *acked, uint32_t voters) {
    if (voters == 0)
        return 0;
    /* The answer is one of the values given: the greatest that enough voters have reached.
     * Ensembles are small, so counting for each beats sorting a copy. */
    zxid_t best = 0;
    for (uint32_t i = 0; i < voters; i++) {
        uint32_t reached = 0;
        for (uint32_t k = 0; k < voters; k++)
            reached += acked[k] >= acked[i];
        if (reached >= quorum_size(voters) && acked[i] > best)
            best = acked[i];
    }
    return best;
}
