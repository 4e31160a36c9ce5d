# Sourced by the commands at the top: what they need from Debian, and where slow things are kept.
# Everything here may be run again at no cost.

sbox_cache="${SBOX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sbox}"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need PACKAGE...: installs what is missing, and only that; says which and stops when it may not.
need() {
  local missing=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] || die "these Debian packages are missing: ${missing[*]}
  Install them (apt-get install ${missing[*]}), or run this as root."
  say "Installing ${missing[*]}"
  local log; log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || {
      tail -n 20 "$log" >&2
      die "apt-get could not install ${missing[*]}; its last words are above, all of them in $log"
    }
  fi
  rm -f "$log"
}

# need_idle PACKAGE UNIT: a server's package, whose service starts neither now nor at the next boot.
need_idle() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] && return
  local policy=/usr/sbin/policy-rc.d made='' status=0
  [ "$(id -u)" != 0 ] || [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1; }
  (need "$1") || status=$?
  [ -z "$made" ] || rm -f "$policy"
  [ "$status" = 0 ] || exit "$status"
  systemctl disable --quiet "$2" 2>/dev/null || rm -f "/etc/systemd/system/multi-user.target.wants/$2.service"
}

need_dotnet() {
  command -v dotnet >/dev/null || die "the .NET SDK 10 is missing: install dotnet-sdk-10.0, or put it on PATH"
  case "$(dotnet --version 2>/dev/null)" in
    10.*|1[1-9].*) ;;
    *) die "the .NET SDK 10 is needed; 'dotnet --version' says: $(dotnet --version 2>&1 | head -n 1)" ;;
  esac
}

# What compiling to native code, making images and booting them need.
build_packages=(clang lld zlib1g-dev)
image_packages=(mmdebstrap debian-archive-keyring mtools dosfstools fdisk e2fsprogs zstd xz-utils)
machine_packages=(qemu-system-x86 qemu-utils ovmf swtpm)
test_packages=(libfido2-1 dbus-daemon systemd xorriso gpg gpg-agent libtss2-tcti-swtpm0 tpm2-tools cryptsetup-bin softhsm2 opensc libengine-pkcs11-openssl ostree strace git iproute2 patch sqlite3 openssh-server openssh-client erofs-utils fsverity attr binutils python3 sbsigntool efitools openssl cpio pamtester zsh fish)

case "$(uname -m)" in
  x86_64) sbox_rid=linux-x64 ;;
  aarch64) sbox_rid=linux-arm64 ;;
  *) die "no .NET runtime identifier is known for $(uname -m)" ;;
esac
