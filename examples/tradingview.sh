#!/bin/sh
# An alert as TradingView delivers it: sh tradingview.sh http://127.0.0.1:8490/hooks/tv SECRET buy
set -eu
url=$1 secret=$2 action=${3:-buy} position=${4:-long}
curl --silent --show-error --fail-with-body --max-time 10 --header 'Content-Type: application/json' --data @- "$url" <<JSON
{"secret": "$secret", "ticker": "BTCUSDT", "action": "$action", "market_position": "$position", "time": "$(date -u +%Y-%m-%dT%H:%M:%SZ)"}
JSON
