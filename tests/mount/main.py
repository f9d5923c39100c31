import common
import tree
import rename
import shapes
import write
import names
import posix_calls
import bad_input
import tools
import editors
import start
import fault
import restart
import flags
import owners
import views
import streams
import streams_faults
import locks
import locks_fcntl
import locks_lost
import locks_many
import restart_held
import restart_more
import restart_steps
import restart_steps_more
import access

t = common.t

if __name__ == "__main__":
    try:
        t.main()
    finally:
        common.close()
