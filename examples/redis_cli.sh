#!/bin/sh
# An intent and its answer with nothing but redis-cli: sh redis_cli.sh PORT '{"id":"mine-1","symbol":"BTC/USDT","side":"buy","quantity":"0.01"}'
set -eu
port=$1 body=$2
since=$(redis-cli -p "$port" --raw XREVRANGE intent.result + - COUNT 1 | head -n 1)
redis-cli -p "$port" --raw XADD order.intent '*' body "$body" >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  answer=$(redis-cli -p "$port" --raw XREAD COUNT 100 BLOCK 1000 STREAMS intent.result "${since:-0-0}" |
    grep -F "\"intent_id\":\"$(printf %s "$body" | sed 's/.*"id":"\([^"]*\)".*/\1/')\"" | grep -v '"status":"accepted"' || true)
  if [ -n "$answer" ]; then
    printf '%s\n' "$answer" | tail -n 1
    exit 0
  fi
done
echo "no answer in time; asking again with the same id is safe" >&2
exit 3
