namespace Sbox.Integrity.Tests;

/// <summary>What happens beside mounts, judged without a kernel; RedTeamTests has the kernel's side.</summary>
public sealed class SystemJudgeTests
{
    private const uint OfSbox = 77;
    private static readonly Culprit Evil = new(4711, "/usr/bin/perl", true, "perl", "", null, 0, null, 1), Sbox = Evil with { IsSbox = true };
    private readonly SystemJudge judge = new(BoxTable.Policy, BoxTable.Facts, static (_, _) => null, static number => number == OfSbox, static _ => true);

    [Theory]
    [InlineData(OfSbox, 1, FindingKind.NamespaceEntered)]
    [InlineData(OfSbox + 1, 1, null)]
    public void Whoever_takes_hold_of_sbox_where_it_writes_is_told_and_a_debugger_elsewhere_is_not(uint number, ulong process, FindingKind? kind)
    {
        Assert.Equal(kind, Judge(KernelAct.Trace, Evil, number, process)?.Kind);
        Assert.Equal(kind, Judge(KernelAct.FollowLink, Evil, number)?.Kind);
        Assert.Null(Judge(KernelAct.Trace, Sbox, number, process));
        Assert.Null(Judge(KernelAct.FollowLink, Sbox, number));
    }

    [Fact]
    public void Whoever_takes_hold_of_the_sentinel_is_told() =>
        Assert.Equal(FindingKind.SentinelAttacked, Judge(KernelAct.Trace, Evil, 1, (ulong)Environment.ProcessId)?.Kind);

    [Theory]
    [InlineData(2, true)] // kprobe
    [InlineData(26, true)] // tracing
    [InlineData(29, true)] // LSM
    [InlineData(15, false)] // a control group's devices: every container
    [InlineData(8, false)] // a control group's packets
    public void A_BPF_program_that_looks_into_the_kernel_is_told_and_a_containers_is_not(ulong kind, bool told) =>
        Assert.Equal(told ? FindingKind.KernelChanged : null, Judge(KernelAct.LoadProgram, Evil, 0, kind)?.Kind);

    [Fact]
    public void Systemds_own_programs_may_load_some_unless_they_were_told_to_load_code_of_others()
    {
        Culprit networkd = Evil with { Program = "/usr/lib/systemd/systemd-networkd", IsUnaltered = true };
        Assert.Null(Judge(KernelAct.LoadProgram, networkd, 0, 2));
        Assert.NotNull(Judge(KernelAct.LoadProgram, networkd with { IsUnaltered = false }, 0, 2));
        Assert.NotNull(Judge(KernelAct.LoadProgram, networkd with { Program = "/usr/lib/systemd-evil" }, 0, 2));
    }

    [Theory]
    [InlineData("/sys/kernel/core_pattern", true)]
    [InlineData("/sys/kernel/modprobe", true)]
    [InlineData("/sys/net/ipv4/ip_forward", false)]
    [InlineData("/sys/kernel/domainname", false)]
    public void What_the_kernel_starts_by_itself_is_told_and_other_settings_are_the_owners(string path, bool told) =>
        Assert.Equal(told ? FindingKind.KernelChanged : null, judge.Judge(Event(KernelAct.WriteSetting, 0, 0) with { ObjectPath = path }, Evil)?.Kind);

    [Theory, InlineData(0x100001u), InlineData(0x100002u), InlineData(0x100004u)]
    public void The_machines_memory_opened_for_writing_is_told(uint device) =>
        Assert.Equal(FindingKind.KernelChanged, Judge(KernelAct.OpenDevice, Evil, device)?.Kind);

    private Finding? Judge(KernelAct act, Culprit by, uint device, ulong argument = 0) => judge.Judge(Event(act, device, argument), by);

    private static KernelEvent Event(KernelAct act, uint device, ulong argument) => new(act, 0, 1, 0, [argument, 0, 0, 0, 0, 0], new Caller(4711, 0)) { ObjectDevice = device };
}
