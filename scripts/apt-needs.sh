#!/usr/bin/env bash
# Installs what the tests need from Debian's packages (database servers, a browser with Chinese fonts, promtool, Java for Spark), only what is missing. Without root it says so and leaves.
set -euo pipefail
missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
{ command -v mariadbd || [ -x /usr/sbin/mariadbd ]; } >/dev/null || missing+=(mariadb-server)
command -v chromium >/dev/null || missing+=(chromium)
[ -n "$(find /usr/share/fonts -iname '*cjk*' -print -quit 2>/dev/null)" ] || missing+=(fonts-noto-cjk)
command -v promtool >/dev/null || missing+=(prometheus)
{ command -v java || [ -x "${JAVA_HOME:-}/bin/java" ]; } >/dev/null || missing+=(openjdk-17-jre-headless)
[ ${#missing[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || { echo "no apt-get: the tests of ${missing[*]} will be skipped" >&2; exit 0; }
[ "$(id -u)" -eq 0 ] || { echo "run as root to install ${missing[*]}; their tests will be skipped" >&2; exit 0; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
  echo "could not install ${missing[*]}; their tests will be skipped" >&2
