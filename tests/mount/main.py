import common
import tree
import write
import names
import tools
import start
import fault

t = common.t

if __name__ == "__main__":
    try:
        t.main()
    finally:
        common.close()
