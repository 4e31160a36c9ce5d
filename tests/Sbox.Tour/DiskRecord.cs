using System.Diagnostics;
using System.Globalization;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>A moment of the story in the record of its disk.</summary>
/// <param name="Step">The step that had just ended.</param>
/// <param name="At">How much had been asked of the disk by then.</param>
public sealed record DiskMoment(string Step, int At);

/// <summary>All that a machine asked of its disk while the story was told, and when in it. It stays in the machine's directory, to be looked at again without the machine.</summary>
public sealed class DiskRecord : IDisposable
{
    internal const string Writes = "disk.log", Moments = "disk.moments";

    private DiskRecord(DiskLog log, IReadOnlyList<DiskMoment> steps) => (Log, Steps) = (log, steps);

    /// <summary>The writes and flushes.</summary>
    public DiskLog Log { get; }

    /// <summary>The steps, in their order.</summary>
    public IReadOnlyList<DiskMoment> Steps { get; }

    /// <summary>How much had been asked when the step was over whose name begins so.</summary>
    public int After(string step) => Steps.First(each => each.Step.StartsWith(step, StringComparison.Ordinal)).At;

    /// <summary>Opens the record of a story that was told.</summary>
    public static DiskRecord Open(string machine) => new(
        DiskLog.Open(Path.Combine(machine, Writes)),
        [.. File.ReadAllLines(Path.Combine(machine, Moments)).Select(static line => line.Split(' ', 2)).Select(static parts => new DiskMoment(parts[1], int.Parse(parts[0], CultureInfo.InvariantCulture)))]);

    /// <inheritdoc/>
    public void Dispose() => Log.Dispose();
}

/// <summary>Makes a <see cref="DiskRecord"/>.</summary>
internal sealed class DiskRecorder : IDisposable
{
    private readonly RecordedDisk disk;
    private readonly string machine;

    /// <summary>Serves a copy of an image.</summary>
    public DiskRecorder(string image, string machine)
    {
        this.machine = machine;
        Directory.CreateDirectory(machine);
        string copy = Path.Combine(machine, "disk.img");
        using (Process cp = Process.Start("cp", ["--sparse=always", "--reflink=auto", image, copy]))
        {
            cp.WaitForExit();
            if (cp.ExitCode != 0)
                throw new TourException($"{image} could not be copied to {copy}; cp's words are above");
        }

        disk = new RecordedDisk(copy, Path.Combine(machine, DiskRecord.Writes));
    }

    /// <summary>The machine's drive.</summary>
    public string Drive => disk.Drive;

    /// <summary>Remembers where in the record a step ended.</summary>
    public void Remember(string step) => File.AppendAllText(Path.Combine(machine, DiskRecord.Moments), $"{disk.Log.Count} {step}\n");

    /// <inheritdoc/>
    public void Dispose() => disk.Dispose();
}
