using Sbox.Linux;

namespace Sbox.Image;

/// <summary>A sign of life from a build.</summary>
/// <param name="Step">What is being done, in a few words: <c>packages</c>, <c>initrd</c> ...</param>
/// <param name="Detail">A tool's line, or a remark such as <c>from the cache</c>; empty when the step begins.</param>
public readonly record struct BuildStep(string Step, string Detail);

/// <summary>Runs the tools of one step, and says so.</summary>
internal sealed record StepRunner(string Step, IProgress<BuildStep>? Progress, CancellationToken Cancel)
{
    public void Say(string detail) => Progress?.Report(new BuildStep(Step, detail));

    /// <exception cref="BuildFailedException">The program failed or is missing.</exception>
    public void Run(ChildCommand command)
    {
        try
        {
            ChildProcess.Check(command, Say, Cancel);
        }
        catch (ChildFailedException failed)
        {
            throw new BuildFailedException(Step, failed);
        }
    }
}
