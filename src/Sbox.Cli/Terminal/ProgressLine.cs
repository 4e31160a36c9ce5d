using System.Diagnostics;

namespace Sbox.Cli.Terminal;

/// <summary>One line on the terminal that says how far long work is; in a pipe it says nothing, with JSON one object a step.</summary>
internal sealed class ProgressLine(Speaker speaker) : IDisposable
{
    private readonly Lock sync = new();
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private long lastDrawn = -100; // the first is drawn at once; subtracting the least number there is would overflow, and nothing be drawn
    private int drawn;
    private string step = "";

    /// <summary>A step that has begun; steps stay on the screen, one a line.</summary>
    public void Step(string name)
    {
        lock (sync)
        {
            Erase();
            if (name == step)
                return;
            step = name;
            if (speaker.Json)
                Console.Error.WriteLine(Speaker.JsonLine(writer => { writer.WriteString("step", name); writer.WriteNumber("seconds", Math.Round(clock.Elapsed.TotalSeconds, 1)); }));
            else
                Console.Error.WriteLine($"[{clock.Elapsed.TotalSeconds,6:0.0} s] {name}");
        }
    }

    /// <summary>How far the step is; drawn ten times a second at most.</summary>
    public void Update(string text)
    {
        if (!Speaker.Watched || speaker.Json)
            return;
        lock (sync)
        {
            long now = clock.ElapsedMilliseconds;
            if (now - lastDrawn < 100)
                return;
            lastDrawn = now;
            string line = text.Length > 110 ? text[..110] : text;
            Console.Error.Write($"\r{line.PadRight(drawn)}");
            drawn = line.Length;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (sync)
            Erase();
    }

    private void Erase()
    {
        if (drawn > 0)
            Console.Error.Write($"\r{new string(' ', drawn)}\r");
        drawn = 0;
    }
}
