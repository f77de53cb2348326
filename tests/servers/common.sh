# What the three server scripts share; sourced, not run. Exit codes: 3 something has to be installed, 1 it failed.
name=$(basename "$0")
say() { printf '%s: %s\n' "$name" "$*" >&2; }
die() { say "$*"; exit 1; }
install_first() { say "$*"; exit 3; }

# Elasticsearch and PostgreSQL refuse to run as root, so root's runs are handed to `nobody`, and the unpacked
# servers lie where everyone may enter (/root is not such a place).
if [ "$(id -u)" = 0 ]; then default_cache=/var/cache/hark-test-servers; else default_cache=$HOME/.cache/hark-test-servers; fi
cache_root=${HARK_TEST_SERVERS_CACHE:-$default_cache}

# When whoever started the server is gone, however it ended, the server goes too.
die_with_parent=()
! command -v setpriv >/dev/null || die_with_parent=(setpriv --pdeathsig KILL)
as_ordinary_user=(${die_with_parent[@]+"${die_with_parent[@]}"})
if [ "$(id -u)" = 0 ]; then
  as_ordinary_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups --pdeathsig KILL)
fi
hand_over() { # FOLDER...: to the user that the server runs as
  [ "$(id -u)" != 0 ] || chown -R nobody:nogroup "$@"
}

jdk() { # MINIMUM: prints the home of the first whole JDK that is new enough
  local j version
  for j in "${HARK_TEST_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/* \
    "$(dirname "$(dirname "$(readlink -f "$(command -v java)" 2>/dev/null)")")"; do
    [ -n "$j" ] && [ -f "$j/release" ] && [ -x "$j/bin/java" ] || continue
    version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$j/release")
    # Elasticsearch needs the module jdk.jlink, which a JRE lacks
    [ "${version:-0}" -ge "$1" ] && grep -q 'jdk\.jlink' "$j/release" && { echo "$j"; return; }
  done
  install_first "a JDK $1 or newer is not here: install one, or name it in HARK_TEST_JAVA_HOME"
}

resolve() { # STAMP COMMAND...: runs the command once, under a lock, unless $cache/.done holds the stamp
  local stamp=$1
  shift
  [ "$(cat "$cache/.done" 2>/dev/null)" = "$stamp" ] && return 0
  command -v mvn >/dev/null || install_first "Maven is not here: install it (Debian: apt-get install maven), it is needed once"
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock 9
  if [ "$(cat "$cache/.done" 2>/dev/null)" != "$stamp" ]; then
    say "resolving into $cache, once"
    "$@" >&2 || install_first "Maven could not resolve the server; it needs its repository once"
    # written last, so that a broken download is done again
    echo "$stamp" > "$cache/.done"
    chmod -R a+rX "$cache"
  fi
  exec 9>&-
}

options() { # NAME DEFAULT ... -- ARGUMENTS: sets a variable for each --name
  local known=" "
  while [ "$1" != -- ]; do printf -v "${1//-/_}" %s "$2"; known+="$1 "; shift 2; done
  shift
  while [ $# -gt 0 ]; do
    [[ $# -ge 2 && $known == *" ${1#--} "* ]] || die "unknown argument $1"
    printf -v "$(tr - _ <<< "${1#--}")" %s "$2"
    shift 2
  done
}
