#!/bin/bash
# dracut module: sbox-root makes the root of the deployment that the kernel command line names.

check() {
    # Only where it is asked for: dracut --add sbox, or -m.
    [[ -x ${dracutsysrootdir-}/usr/lib/sbox/sbox-root ]] && return 255
    derror "sbox: /usr/lib/sbox/sbox-root is missing"
    return 1
}

depends() {
    echo systemd systemd-initrd
}

installkernel() {
    hostonly='' instmods erofs overlay loop
}

install() {
    inst_simple /usr/lib/sbox/sbox-root
    inst_simple "$moddir/sbox-root.service" "$systemdsystemunitdir/sbox-root.service"
    local unit
    for unit in emergency dracut-emergency; do
        inst_simple "$moddir/emergency.conf" "$systemdsystemunitdir/$unit.service.d/90-sbox.conf"
    done
    inst_simple "$moddir/sbox-sealed.service" "$systemdsystemunitdir/sbox-sealed.service"
    mkdir -p "${initdir}${systemdsystemunitdir}/emergency.target.wants"
    ln_r "$systemdsystemunitdir/sbox-sealed.service" "$systemdsystemunitdir/emergency.target.wants/sbox-sealed.service"
    inst_simple "$moddir/system.conf" "$systemdutildir/system.conf.d/90-sbox.conf"

    # Required, not wanted: with a want alone a failure would hang at switch-root.
    mkdir -p "${initdir}${systemdsystemunitdir}/initrd-root-fs.target.requires"
    ln_r "$systemdsystemunitdir/sbox-root.service" "$systemdsystemunitdir/initrd-root-fs.target.requires/sbox-root.service"

    # dracut's generator makes the wait for the disk of root= endless; systemd's own does all that a box needs.
    mkdir -p "${initdir}/etc/systemd/system-generators"
    ln -sf /dev/null "${initdir}/etc/systemd/system-generators/dracut-rootfs-generator"

    # What ends a sealed boot that failed.
    inst_multiple sh sleep
    # What the emergency shell needs to be of use.
    inst_multiple -o sulogin "$systemdutildir/systemd-sulogin-shell" bash stty ls cat mount umount reboot poweroff journalctl systemctl modprobe lsblk dmesg
}
