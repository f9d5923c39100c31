/* Unit tests with check: a test program defines `unit_suite` and links lib_unit, that has main().
 * Test names are sentences. Output is TAP, which tests/run counts. */
#ifndef ZKFS_TESTS_LIB_UNIT_H
#define ZKFS_TESTS_LIB_UNIT_H

#include <check.h>

Suite *unit_suite(void);

#endif
