using System.Diagnostics;

namespace Sbox.Vm;

/// <summary>The command line of QEMU for a machine, and the files it needs.</summary>
internal static class QemuArguments
{
    /// <summary>The emulator: what SBOX_QEMU names (tests/make-qemu), or the host's.</summary>
    public static readonly string Program = Environment.GetEnvironmentVariable("SBOX_QEMU") is { Length: > 0 } chosen ? chosen : "qemu-system-x86_64";

    private const string FirmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    private const string SecureFirmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
    private const string FirmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd";

    private const string PatientArguments = "systemd.default_device_timeout_sec=300 systemd.default_timeout_start_sec=300";

    public static IReadOnlyList<string> For(VmOptions options, string sockets)
    {
        var arguments = new List<string>
        {
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", MachineOf(options), "-m", $"{options.MemoryMiB}", "-smp", ProcessorsOf(options),
            "-device", "virtio-rng-pci",
        };
        arguments.AddRange(Accelerator(options));
        arguments.AddRange(Disk(options));
        arguments.AddRange(options.Kernel is null ? Firmware(options) : DirectKernel(options, options.Kernel));
        if (options.Network)
            arguments.AddRange(["-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0"]);
        if (options.AutoLogin)
            arguments.AddRange([.. Login(options), .. UnitDropIn("dev-ttyS0.device", "[Unit]\nJobRunningTimeoutSec=1800\n")]);
        if (options.Welcome is { } answers)
            arguments.AddRange(TextCredential("sbox.welcome", answers));
        arguments.AddRange(options.Interactive
            ? ["-serial", "mon:stdio"]
            : [
                // wait=on: the guest starts when someone listens.
                "-chardev", $"socket,id=serial0,path={sockets}/serial,server=on,wait=on", "-serial", "chardev:serial0",
                "-qmp", $"unix:{sockets}/qmp,server=on,wait=off",
            ]);
        if (options.Tpm)
            arguments.AddRange(["-chardev", $"socket,id=tpm,path={sockets}/tpm", "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]);
        if (options.DataDisk is { } data)
            arguments.AddRange(["-drive", $"if=virtio,format=raw,cache=writeback,file={data}"]);
        arguments.AddRange(options.MoreArguments);
        return arguments;
    }

    // Emulation (TCG): Haswell has all that Debian asks for; "max" made the guest's kernel oops now and then. What of a Haswell is not emulated
    // is taken off by name, or QEMU warns of each before a person's first look at the box. It says that an AMD made it: the guest's kernel then has
    // neither Meltdown to guard against, which under emulation throws away all translations at every system call, nor the rest of its kind. A third of a boot.
    private static string[] Accelerator(VmOptions options) => KvmProcessor(options) is { } processor
        ? ["-accel", "kvm", "-cpu", processor]
        : ["-accel", "tcg,thread=multi", "-cpu", "Haswell-v4,-pcid,-x2apic,-tsc-deadline,-invpcid,-spec-ctrl,vendor=AuthenticAMD,family=16"];

    private static string MachineOf(VmOptions options) => options.SecureBoot ? "q35,smm=on" : "q35";

    private static string? KvmProcessor(VmOptions options) => KvmProbe.ProcessorFor(MachineOf(options),
        [.. Flash(options), "-drive", $"if=pflash,unit=1,format=raw,snapshot=on,file={FirmwareVariables}"]);

    // Emulated processors that run on threads of their own now and then execute code that the guest's kernel has patched since (static keys,
    // function tracing): "Oops: int3" in about one boot of twelve where the sentinel runs. One processor has nobody to race with. A second one
    // that could be plugged in never is: where there can be only one, QEMU 7.2 leaves the guest's memory barriers out, and a disk's answer that
    // its own thread gives at the wrong moment is not heard: the guest waits for it for ever.
    private static string ProcessorsOf(VmOptions options) => KvmProcessor(options) is not null ? $"{options.Processors}" : "1,maxcpus=2";

    private static string[] Disk(VmOptions options)
    {
        if (options.AsCd)
            return ["-drive", $"if=ide,media=cdrom,format=raw,readonly=on,file={options.Disk}"];
        if (options.BootDrive is { } served)
            return ["-drive", served];
        string overlay = Path.Combine(options.Directory, "disk.qcow2");
        if (!File.Exists(overlay))
            QemuImg("create", "-q", "-f", "qcow2", "-F", options.DiskFormat, "-b", Path.GetFullPath(options.Disk), overlay);
        // cache=writeback: what the guest flushed survives a SIGKILL of QEMU; with cache=unsafe the qcow2 itself would not.
        string drive = $"format=qcow2,cache=writeback,discard=unmap,file={overlay}";
        return options.AsStick
            ? ["-device", "qemu-xhci,id=usb", "-drive", $"if=none,id=stick,{drive}", "-device", $"usb-storage,id={VmOptions.Stick},drive=stick,bus=usb.0,bootindex=0"]
            : ["-drive", $"if=virtio,{drive}"];
    }

    private static string[] Firmware(VmOptions options)
    {
        string variables = Path.Combine(options.Directory, "vars.qcow2");
        if (!File.Exists(variables))
            QemuImg("convert", "-q", "-f", "raw", "-O", "qcow2", FirmwareVariables, variables); // qcow2: savevm asks for it
        return
        [
            .. Flash(options),
            "-drive", $"if=pflash,unit=1,format=qcow2,file={variables}",
            .. options.Patient ? ["-smbios", $"type=11,value=io.systemd.stub.kernel-cmdline-extra={PatientArguments}"] : Array.Empty<string>(),
        ];
    }

    private static string[] Flash(VmOptions options) =>
    [
        // Only code in system management mode may write the flash, so the guest's kernel cannot.
        .. options.SecureBoot ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : Array.Empty<string>(),
        "-drive", $"if=pflash,unit=0,format=raw,readonly=on,file={(options.SecureBoot ? SecureFirmwareCode : FirmwareCode)}",
    ];

    private static List<string> DirectKernel(VmOptions options, string kernel)
    {
        List<string> arguments = ["-kernel", kernel];
        if (options.Initrd is not null)
            arguments.AddRange(["-initrd", options.Initrd]);
        arguments.AddRange(["-append", $"{options.CommandLine}{(options.Patient ? $" {PatientArguments}" : "")}"]);
        return arguments;
    }

    private static string[] Credential(string name, string value) => ["-smbios", $"type=11,value=io.systemd.credential:{name}={value}"];

    // A machine whose console logs in by itself has its user, and sbox-welcome leaves it alone: one that is told of its user gets these for the serial console only.
    private static string[] Login(VmOptions options) => options.Welcome is null
        ? [.. Credential("agetty.autologin", "root"), .. Credential("login.noauth", "yes")]
        : UnitDropIn("serial-getty@ttyS0.service", "[Service]\nSetCredential=agetty.autologin:root\nSetCredential=login.noauth:yes\n");

    // The login waits for the serial port's device, and systemd for that no longer than a minute and a half: on a busy host udev may take more. A sealed box
    // takes no such argument, and this it takes.
    private static string[] UnitDropIn(string unit, string text) => TextCredential($"systemd.unit-dropin.{unit}", text);

    // Of several lines, or with what QEMU's options have a meaning for.
    private static string[] TextCredential(string name, string text) =>
        ["-smbios", $"type=11,value=io.systemd.credential.binary:{name}={Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(text))}"];

    private static void QemuImg(params string[] arguments)
    {
        using Process tool = Process.Start(new ProcessStartInfo("qemu-img", arguments) { RedirectStandardError = true })
            ?? throw new VmException("qemu-img did not start");
        string words = tool.StandardError.ReadToEnd();
        tool.WaitForExit();
        if (tool.ExitCode != 0)
            throw new VmException($"qemu-img {string.Join(' ', arguments)}: {words.Trim()}");
    }
}
