using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Integrity.Tests;

public sealed class KernelEyesTests(ITestOutputHelper output)
{
    [Fact]
    public void The_eyes_on_mounts_namespaces_and_signals_open_on_any_kernel_with_typed_tracepoints()
    {
        using KernelEyes eyes = KernelEyes.Open();
        foreach (ClosedEye eye in eyes.Closed)
            output.WriteLine($"{eye.Function}: {eye.Reason}");
        Assert.DoesNotContain(eyes.Closed, static eye => eye.Function.StartsWith("__", StringComparison.Ordinal) || eye.Function is "copy_mnt_ns" or "btf_trace_signal_generate");
    }

    [Fact]
    public void A_mount_in_a_namespace_of_its_own_is_seen_with_who_where_and_when()
    {
        using KernelEyes eyes = KernelEyes.Open();
        using var poller = new Poller();
        poller.Add(eyes.Ring, Readiness.Readable, 1);
        string target = Directory.CreateTempSubdirectory("sbox-eyes-").FullName;
        using Process child = Process.Start("unshare", ["-m", "mount", "-t", "tmpfs", "sbox-test", target]);
        child.WaitForExit();
        var seen = new List<KernelEvent>();
        Span<long> ready = stackalloc long[4];
        while (poller.Wait(ready, 200) > 0)
            eyes.Drain(seen.Add);
        foreach (KernelEvent each in seen)
            output.WriteLine($"{each} {each.Text} {each.SecondText} {each.ObjectPath} {each.Caller}");
        Assert.Contains(seen, each => each.Act == KernelAct.NewNamespace && each.Caller.Process == child.Id && each.Caller.Name == "unshare");
        KernelEvent mount = Assert.Single(seen, each => each.Caller.Process == child.Id && (each.Act == KernelAct.MoveMount || (each.Act == KernelAct.Mount && each.Text == target)));
        Assert.Equal("mount", mount.Caller.Name);
        Assert.EndsWith("bin/mount", mount.Caller.ProgramPath, StringComparison.Ordinal);
        Assert.Equal(0u, mount.Caller.User);
        Assert.NotEqual(0u, mount.Namespace);
    }
}
