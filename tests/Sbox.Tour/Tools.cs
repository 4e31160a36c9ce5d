using System.Diagnostics;

namespace Sbox.Tour;

/// <summary>The product's programs, run as a person runs them.</summary>
/// <param name="root">The top of the source tree; the programs are in its out/.</param>
public sealed class Tools(string root)
{
    /// <summary>The top of the source tree.</summary>
    public string Root { get; } = root;

    /// <summary>Runs <c>out/sbox</c>; what it says goes to our own stderr, so that progress is seen.</summary>
    /// <returns>Its answer.</returns>
    public string Sbox(params string[] arguments) => Run("sbox", arguments);

    /// <summary>Runs <c>out/ostree</c>.</summary>
    /// <returns>Its answer.</returns>
    public string Ostree(params string[] arguments) => Run("ostree", arguments);

    /// <summary>Runs any program.</summary>
    /// <exception cref="TourException">It did not end with 0; its words went to our own stderr.</exception>
    public static void Do(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments)) ?? throw new TourException($"{program} did not start");
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new TourException($"{program} {string.Join(' ', arguments)}: exit status {process.ExitCode}");
    }

    private string Run(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(Root, "out", program)) { RedirectStandardOutput = true, WorkingDirectory = Root };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start) ?? throw new TourException($"{program} did not start");
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output.Trim()
            : throw new TourException($"{program} {string.Join(' ', arguments)}: exit status {process.ExitCode}; its words are above");
    }
}

/// <summary>The story did not go as told: the step, what was expected and what was seen.</summary>
/// <param name="message">All of it, for a person.</param>
public sealed class TourException(string message) : Exception(message);
