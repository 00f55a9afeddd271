# A Postgres server for tests, until standard input closes: so it ends however the tests end.
# Arguments: the folder with its programs, the port. Lines on standard input: `stop`, `start`, and
# `freeze` and `thaw`, between which it answers nothing.
set -eu
bin=$1 port=$2
folder=$(mktemp -d "${TMPDIR:-/tmp}/antiphon-postgres.XXXXXX")

signal() {
    leader=$(head -n 1 "$folder/data/postmaster.pid")
    # shellcheck disable=SC2046
    kill -s "$1" "$leader" $(cat "/proc/$leader/task/$leader/children") 2> /dev/null || true
}

halt() {
    signal CONT 2> /dev/null || true
    "$bin/pg_ctl" stop -D "$folder/data" -m immediate -w > /dev/null 2>&1 || true
}
trap 'halt; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

begin() {
    "$bin/pg_ctl" start -D "$folder/data" -w -t 60 -l "$folder/log" > /dev/null ||
        { cat "$folder/log"; exit 1; }
}

"$bin/initdb" -D "$folder/data" -U postgres --auth=trust -E UTF8 --locale=C --no-sync > "$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
cat >> "$folder/data/postgresql.conf" << SETTINGS
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$folder'
max_connections = 200
shared_buffers = 32MB
fsync = off
SETTINGS
begin
echo "ready on $port"
while read -r command; do
    case $command in
        stop) halt; echo 'has stopped' ;;
        freeze) signal STOP; echo 'is frozen' ;;
        thaw) signal CONT; echo 'is thawed' ;;
        start) begin; echo 'has started' ;;
    esac
done
