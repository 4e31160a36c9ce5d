using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>
/// A machine that runs a box, as far as sbox can tell: in a mount namespace and root directory of its own are /sysroot, read-only, the EFI
/// partition's files at /run/esp, the firmware's variables, and a kernel command line. What needs a kernel with FAT is in Sbox.Tour.
/// </summary>
internal sealed class RunningBox : IDisposable
{
    private const string Vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    private readonly TempDir temp = new();
    private readonly TestBox box;
    private readonly string running;

    /// <param name="box">What is on its disk.</param>
    /// <param name="running">The deployment that runs.</param>
    public RunningBox(TestBox box, Deployment running)
    {
        (this.box, this.running) = (box, running.Name.ToString());
        Directory.CreateDirectory(temp.Of("efivars"));
    }

    /// <summary>Sets a variable as systemd-boot would, immutable as efivarfs makes it; null removes it.</summary>
    public void SetVariable(string name, string value)
    {
        File.WriteAllBytes(temp.Of($"efivars/{name}-{Vendor}"), [7, 0, 0, 0, .. Encoding.Unicode.GetBytes(value + "\0")]);
        Judge.OnPath("chattr").Run("+i", temp.Of($"efivars/{name}-{Vendor}"));
    }

    public bool HasVariable(string name) => File.Exists(temp.Of($"efivars/{name}-{Vendor}"));

    public JsonElement Json(string command) => JsonDocument.Parse(Run($"sbox {command} --esp=/run/esp --json")).RootElement;

    /// <summary>Runs a script; <c>sbox</c> is a function in it, and <c>nobody</c> is sbox without a right.</summary>
    public string Run(string script)
    {
        File.WriteAllText(temp.Of("script"), script);
        Verdict verdict = Judge.OnPath("unshare").Ask(
            ["--mount", "bash", "-c", Machine, "bash", temp.Path, Program, running, box.SysrootPath, box.EspPath]);
        return verdict.ExitCode == 0 ? verdict.Output : throw new InvalidOperationException($"{script}: {verdict.ExitCode}\n{verdict.Output}{verdict.Error}");
    }

    /// <summary>Where the program is, with all that it is made of.</summary>
    public static string Program { get; } = TestedProgram.Directory;

    public void Dispose()
    {
        foreach (string variable in Directory.GetFiles(temp.Of("efivars")))
            Judge.OnPath("chattr").Run("-i", variable);
        temp.Dispose();
    }

    private const string Machine = """
        set -e
        dir=$1 program=$2 running=$3 root=$4 esp=$5
        mkdir -p $dir/machine; mount -t tmpfs tmpfs $dir/machine; cd $dir/machine
        # Wherever the checkout, the SDK and temporary files may lie; what the machine has of its own follows.
        for top in /*; do
          case $top in /run|/sys|/sysroot|/ostree|/boot|/efi) continue ;; esac
          if [ -L $top ]; then cp -P $top .$top
          elif [ -d $top ]; then mkdir .$top; mount --rbind $top .$top; fi
        done
        mkdir -p sysroot run/esp sys/firmware/efi/efivars
        mount --bind $root sysroot; mount -o remount,bind,ro sysroot
        mount --bind $esp run/esp
        mount --bind $dir/efivars sys/firmware/efi/efivars
        mkdir run/program; mount --bind $program run/program # where nobody may go, whoever may see the checkout
        touch run/ostree-booted
        echo root=LABEL=sbox-root sbox.deployment=$running quiet > run/cmdline
        mount --bind run/cmdline proc/cmdline
        mkdir old; pivot_root . old; umount --lazy old; cd /
        sbox() { "$program/sbox" "$@"; }
        nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups /run/program/sbox "$@"; }
        . $dir/script
        """;
}
