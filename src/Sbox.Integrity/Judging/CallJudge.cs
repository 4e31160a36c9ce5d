using System.Buffers.Binary;

namespace Sbox.Integrity;

/// <summary>
/// Judges what was asked of the kernel and granted. It is the word on what was over before the mounts could be looked at: a namespace
/// that lived for a millisecond, a mount that was taken back at once.
/// </summary>
public static class CallJudge
{
    private const ulong ReadOnly = 1;
    private const ulong Remount = 32;
    private const string WasOver = "and was read-only or gone again when it was looked at";
    private const ulong Propagation = (1 << 17) | (1 << 18) | (1 << 19) | (1 << 20);

    /// <summary>What a call, by itself, did to a protected path; null when nothing, or when its words do not say.</summary>
    /// <param name="policy">What is protected.</param>
    /// <param name="call">A call that succeeded, in a namespace of the system (not a container).</param>
    public static Finding? Judge(SentinelPolicy policy, KernelEvent call)
    {
        if (!call.Text.StartsWith('/') || Protected(policy, call.Text) is not { } path)
            return null;
        return call.Act switch
        {
            KernelAct.Mount when (call.Arguments[3] & Remount) != 0 => (call.Arguments[3] & ReadOnly) != 0 ? null : MadeWritable(path, call.Text),
            KernelAct.Mount when (call.Arguments[3] & Propagation) != 0 => null,
            KernelAct.Mount => Covering(policy, call.Text, call.SecondText),
            KernelAct.MoveMount => Covering(policy, call.Text, call.SecondText),
            KernelAct.SetAttributes => ClearsReadOnly(call) ? MadeWritable(path, call.Text) : null,
            _ => null,
        };
    }

    /// <summary>What a call did to a mount of the system's storage that its descriptor leads to, by what the kernel noted of that mount then; null when nothing, or when it does not say.</summary>
    /// <param name="facts">What the system is.</param>
    /// <param name="call">A call that succeeded, in whatever namespace.</param>
    public static Finding? OfDescriptor(SystemFacts facts, KernelEvent call)
    {
        bool isNew = call.Act == KernelAct.NewMount && (call.Arguments[2] & ReadOnly) == 0;
        if (call.Text.Length > 0 || !call.ObjectPath.StartsWith('/') || !(isNew || ClearsReadOnly(call)))
            return null;
        string device = SystemFacts.DeviceName(call.ObjectDevice);
        if (facts.Storage.FirstOrDefault(each => each.Device == device) is not { } storage || storage.Rule.Writable.Any(pattern => pattern.Covers(call.ObjectPath)))
            return null;
        string of = $"of {call.ObjectPath} of the storage behind it ({device})";
        return isNew ? new Finding(FindingKind.DetachedWritable, storage.Rule.Mount, $"a writable mount {of} was made, {WasOver}") { IsOver = true }
            : new Finding(FindingKind.PhysicalWritable, storage.Rule.Mount, $"a mount {of} was made writable, {WasOver}") { IsOver = true };
    }

    private static bool ClearsReadOnly(KernelEvent call) => call is { Act: KernelAct.SetAttributes, Structure.Length: >= 16 }
        && (BinaryPrimitives.ReadUInt64LittleEndian(call.Structure.Span[8..]) & ReadOnly) != 0;

    private static Finding MadeWritable(ProtectedPath path, string target) =>
        new(FindingKind.Writable, path.Path, $"{target} was made writable, {WasOver}") { IsOver = true };

    private static Finding Covering(SentinelPolicy policy, string target, string source) =>
        new(target == policy.TestPath ? FindingKind.Test : FindingKind.Covered, target,
            $"{(source.Length > 0 ? source : "something")} was mounted over it, and was gone again when it was looked at") { IsOver = true };

    private static ProtectedPath? Protected(SentinelPolicy policy, string target) => policy.Protected.FirstOrDefault(path => path.Type is null &&
        (path.Path == "/" ? target == "/" : MountTree.IsAtOrBelow(target, path.Path)));
}
