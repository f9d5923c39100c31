#include "common/zkerr.h"
#include "fs/errmap.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <limits.h>

START_TEST(each_error_has_the_errno_that_the_design_gives_it) {
    ck_assert_int_eq(errmap_errno(ZK_OK), 0);
    ck_assert_int_eq(errmap_errno(ZK_NONODE), ENOENT);
    ck_assert_int_eq(errmap_errno(ZK_NODEEXISTS), EEXIST);
    ck_assert_int_eq(errmap_errno(ZK_NOTEMPTY), ENOTEMPTY);
    ck_assert_int_eq(errmap_errno(ZK_NOAUTH), EACCES);
    ck_assert_int_eq(errmap_errno(ZK_BADVERSION), ESTALE);
    ck_assert_int_eq(errmap_errno(ZK_NOCHILDRENFOREPHEMERALS), EPERM);
    ck_assert_int_eq(errmap_errno(ZK_BADARGUMENTS), EINVAL);
    ck_assert_int_eq(errmap_errno(ZK_INVALIDACL), EINVAL);
    ck_assert_int_eq(errmap_errno(ZK_QUOTAEXCEEDED), EDQUOT);
    ck_assert_int_eq(errmap_errno(ZK_MARSHALLINGERROR), EFBIG);
    ck_assert_int_eq(errmap_errno(ZK_NOTREADONLY), EROFS);
    ck_assert_int_eq(errmap_errno(ZK_CONNECTIONLOSS), EIO);
    ck_assert_int_eq(errmap_errno(ZK_OPERATIONTIMEOUT), EIO);
    ck_assert_int_eq(errmap_errno(ZK_SESSIONEXPIRED), ESTALE);
    ck_assert_int_eq(errmap_errno(ZK_UNIMPLEMENTED), EOPNOTSUPP);
}
END_TEST

START_TEST(every_error_of_the_table_and_any_other_number_is_an_error) {
#define ZK_ERR(name, code, text)                                                                   \
    if ((code) != 0)                                                                               \
        ck_assert_int_gt(errmap_errno(code), 0);
#include "common/zkerr.def"
#undef ZK_ERR
    ck_assert_int_eq(errmap_errno(-9999), EIO);
    ck_assert_int_eq(errmap_errno(7), EIO);
    ck_assert_int_eq(errmap_errno(INT_MIN), EIO);
}
END_TEST

Suite *unit_suite(void) {
    Suite *s = suite_create("errmap");
    TCase *t = tcase_create("errmap");
    tcase_add_test(t, each_error_has_the_errno_that_the_design_gives_it);
    tcase_add_test(t, every_error_of_the_table_and_any_other_number_is_an_error);
    suite_add_tcase(s, t);
    return s;
}
