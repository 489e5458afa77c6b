#!/bin/bash
# Prints the packages whose tests import a package of this module, directly or
# indirectly, or those whose tests do not:
#
#   hack/test-packages.sh with|without FOLDER...
set -euo pipefail
cd "$(dirname "$0")/.."
which=${1:?with or without}
shift
go list -test -f '{{if eq .Name "main"}}{{.ImportPath}} {{join .Deps " "}} {{end}}' ./... |
	awk -v which="$which" -v module="$(go list -m)" -v folders="$*" '
		$1 ~ /\.test$/ {
			found = 0
			for (i = split(folders, folder, " "); i > 0; i--) found += index($0, " " module "/" folder[i] " ") > 0
			sub(/\.test$/, "", $1)
			if ((which == "with") == (found > 0)) print $1
		}'
