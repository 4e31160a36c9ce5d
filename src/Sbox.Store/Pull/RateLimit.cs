using System.Globalization;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// Lets a pull read no more than so many bytes a second, all its requests together. Who does not read is not sent more: TCP's windows fill, and the rest of the line
/// is for others. After a pause a quarter of a second's worth may come at once.
/// </summary>
/// <param name="bytesPerSecond">How many; 0 for no limit.</param>
/// <param name="clock">Tells the time.</param>
public sealed class RateLimit(long bytesPerSecond, TimeProvider clock)
{
    /// <summary>The least that a limit may be, bytes a second: servers give readers up that take nothing for a minute.</summary>
    public const long Least = 10_000;

    private const long EachAtLeast = 50_000;
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(250);
    private readonly Lock sync = new();
    private long free = clock.GetTimestamp(); // when what was taken so far has been paid for

    /// <summary>Whether there is a limit.</summary>
    public bool IsSet => bytesPerSecond > 0;

    /// <summary>What a line that brings so many bytes a second brings within the limit.</summary>
    public double Within(double rate) => IsSet ? Math.Min(rate, bytesPerSecond) : rate;

    /// <summary>Waits until bytes that were just read may have come.</summary>
    /// <param name="bytes">How many.</param>
    /// <param name="cancel">Ends it.</param>
    public async ValueTask Take(int bytes, CancellationToken cancel)
    {
        if (!IsSet)
            return;
        TimeSpan wait;
        lock (sync)
        {
            long now = clock.GetTimestamp(), second = clock.TimestampFrequency;
            free = Math.Max(free, now - (long)(Burst.TotalSeconds * second)) + (long)((double)bytes / bytesPerSecond * second);
            wait = clock.GetElapsedTime(now, Math.Max(free, now));
        }

        if (wait > TimeSpan.Zero)
            await Task.Delay(wait, clock, cancel).ConfigureAwait(false);
    }

    /// <summary>How many requests at once this limit bears: each is to have enough of it that no server takes its reader for gone.</summary>
    /// <param name="wanted">How many there would be without a limit.</param>
    internal int Requests(int wanted) => IsSet ? (int)Math.Clamp(bytesPerSecond / EachAtLeast, 1, wanted) : wanted;

    /// <summary>How much to read at once: an eighth of a second's worth at the most.</summary>
    internal int Piece(int wanted) => IsSet ? (int)Math.Min(bytesPerSecond / 8, wanted) : wanted;

    /// <summary>Reads a rate: bytes a second, with K, M or G for 1000 of them, of those, of those: <c>500K</c>, <c>2.5M</c>. 0 is none.</summary>
    /// <param name="text">The text.</param>
    /// <param name="of">Whose it is, for the error: an option, a setting.</param>
    /// <exception cref="MalformedException">It is none, or less than <see cref="Least"/>.</exception>
    public static long Parse(string text, string of)
    {
        string number = text.Trim();
        double unit = number.Length == 0 ? 1 : char.ToUpperInvariant(number[^1]) switch { 'K' => 1e3, 'M' => 1e6, 'G' => 1e9, _ => 1 };
        if (unit > 1)
            number = number[..^1];
        return double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value) && value * unit is 0 or (>= Least and < long.MaxValue)
            ? (long)(value * unit)
            : throw new MalformedException("rate", of, $"bytes a second such as 500K or 2.5M, {Least} at least, or 0 for no limit", $"'{text}'");
    }
}
