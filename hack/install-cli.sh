#!/bin/bash
# Installs bin/artifactstore and its completions for bash, zsh and fish below
# $DESTDIR$PREFIX. make install-cli builds it first.
set -euo pipefail
cd "$(dirname "$0")/.."
into="${DESTDIR:-}${PREFIX:-/usr/local}"

completions=$(mktemp -d)
trap 'rm -rf "$completions"' EXIT
for shell in bash zsh fish; do
	bin/artifactstore completion "$shell" >"$completions/$shell"
done
install -D -m 755 bin/artifactstore "$into/bin/artifactstore"
install -D -m 644 "$completions/bash" "$into/share/bash-completion/completions/artifactstore"
install -D -m 644 "$completions/zsh" "$into/share/zsh/site-functions/_artifactstore"
install -D -m 644 "$completions/fish" "$into/share/fish/vendor_completions.d/artifactstore.fish"
echo "$into/bin/artifactstore: $(bin/artifactstore --version)"
if [ ! -e /usr/share/bash-completion/bash_completion ]; then
	echo "bash-completion is not installed: put this into ~/.bashrc: source $into/share/bash-completion/completions/artifactstore"
fi
