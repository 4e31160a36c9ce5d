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
            KernelAct.SetAttributes when call.Structure.Length >= 16 =>
                (BinaryPrimitives.ReadUInt64LittleEndian(call.Structure.Span[8..]) & ReadOnly) != 0 ? MadeWritable(path, call.Text) : null,
            _ => null,
        };
    }

    private static Finding MadeWritable(ProtectedPath path, string target) =>
        new(FindingKind.Writable, path.Path, $"{target} was made writable, and was read-only or gone again when it was looked at") { IsOver = true };

    private static Finding Covering(SentinelPolicy policy, string target, string source) =>
        new(target == policy.TestPath ? FindingKind.Test : FindingKind.Covered, target,
            $"{(source.Length > 0 ? source : "something")} was mounted over it, and was gone again when it was looked at") { IsOver = true };

    private static ProtectedPath? Protected(SentinelPolicy policy, string target) => policy.Protected.FirstOrDefault(path => path.Type is null &&
        (path.Path == "/" ? target == "/" : MountTree.IsAtOrBelow(target, path.Path)));
}
