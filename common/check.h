/* CHECK stays on in every build and aborts with the place and the condition; it is for the
 * programmer's errors only, never for what came from a wire, a disk or a user. DCHECK is for checks
 * too dear for a release build (compiled out with NDEBUG). */
#ifndef ZKFS_COMMON_CHECK_H
#define ZKFS_COMMON_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *condition);

#define CHECK(cond) ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))
#ifdef NDEBUG
#define DCHECK(cond) ((void)sizeof(cond))
#else
#define DCHECK(cond) CHECK(cond)
#endif

#endif
