using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>A point in time as restic writes it: seconds since 1970, nanoseconds, and the zone it was written in, so that it is written back the same.</summary>
/// <param name="Seconds">Seconds since 1970-01-01T00:00:00Z.</param>
/// <param name="Nanoseconds">0 to 999,999,999.</param>
/// <param name="ZoneMinutes">How far the zone's clocks are ahead of UTC; says nothing about the moment itself.</param>
public readonly record struct Moment(long Seconds, uint Nanoseconds, short ZoneMinutes = 0) : IComparable<Moment>
{
    private const long Year0 = -62167219200, Year10000 = 253402300800;

    /// <summary>This moment for the class library; tenths of microseconds are all that it keeps.</summary>
    public DateTimeOffset ToDateTimeOffset() =>
        Seconds < -62135596800 ? DateTimeOffset.MinValue : DateTimeOffset.FromUnixTimeSeconds(Math.Min(Seconds, Year10000 - 1)).AddTicks(Nanoseconds / 100);

    /// <summary>The moment of a clock's answer, in UTC.</summary>
    public static Moment Of(DateTimeOffset time) => new(time.ToUnixTimeSeconds(), (uint)(time.UtcTicks % TimeSpan.TicksPerSecond * 100));

    /// <summary>Reads RFC 3339 with up to nine decimals, <c>2014-12-22T14:47:59.912418701+01:00</c>.</summary>
    /// <exception cref="MalformedException">It is anything else.</exception>
    public static Moment Parse(ReadOnlySpan<byte> text)
    {
        if (text.Length < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':'
            || !Number(text[..4], out int year) || !Number(text[5..7], out int month) || !Number(text[8..10], out int day)
            || !Number(text[11..13], out int hour) || !Number(text[14..16], out int minute) || !Number(text[17..19], out int second)
            || month is < 1 or > 12 || day < 1 || day > (year == 0 ? 31 : DateTime.DaysInMonth(year, month)) || hour > 23 || minute > 59 || second > 60)
            throw Wrong(text);
        int at = 19;
        uint nanoseconds = 0;
        if (text[at] is (byte)'.' or (byte)',')
        {
            int digits = 0;
            for (at++; at < text.Length && char.IsAsciiDigit((char)text[at]) && digits < 9; at++, digits++)
                nanoseconds = (nanoseconds * 10) + (uint)(text[at] - '0');
            for (; digits < 9; digits++)
                nanoseconds *= 10;
        }

        ReadOnlySpan<byte> zone = text[at..];
        short ahead = 0;
        if (zone is not [(byte)'Z'])
        {
            if (zone.Length != 6 || zone[3] != ':' || zone[0] is not ((byte)'+' or (byte)'-') || !Number(zone[1..3], out int hours) || !Number(zone[4..6], out int minutes))
                throw Wrong(text);
            ahead = (short)((zone[0] == '-' ? -1 : 1) * ((hours * 60) + minutes));
        }

        return new Moment((Days(year, month, day) * 86400) + (hour * 3600) + (minute * 60) + second - (ahead * 60L), nanoseconds, ahead);
    }

    /// <summary>RFC 3339 as Go writes it: no trailing zeros in the decimals, <c>Z</c> for UTC; years outside 0..9999 become the nearest, as restic has it.</summary>
    public int Write(Span<byte> into)
    {
        long local = Math.Clamp(Seconds + (ZoneMinutes * 60L), Year0, Year10000 - 1);
        long days = Math.DivRem(local - Year0, 86400, out long rest);
        (int year, int month, int day) = Civil(days);
        Digits(into, year, 4);
        into[4] = (byte)'-';
        Digits(into[5..], month, 2);
        into[7] = (byte)'-';
        Digits(into[8..], day, 2);
        into[10] = (byte)'T';
        Digits(into[11..], (int)(rest / 3600), 2);
        into[13] = (byte)':';
        Digits(into[14..], (int)(rest / 60 % 60), 2);
        into[16] = (byte)':';
        Digits(into[17..], (int)(rest % 60), 2);
        int used = 19;
        if (Nanoseconds != 0)
        {
            into[used] = (byte)'.';
            Digits(into[(used + 1)..], (int)Nanoseconds, 9);
            used += 10;
            while (into[used - 1] == '0')
                used--;
        }

        if (ZoneMinutes == 0)
        {
            into[used++] = (byte)'Z';
            return used;
        }

        into[used] = ZoneMinutes < 0 ? (byte)'-' : (byte)'+';
        Digits(into[(used + 1)..], Math.Abs(ZoneMinutes) / 60, 2);
        into[used + 3] = (byte)':';
        Digits(into[(used + 4)..], Math.Abs(ZoneMinutes) % 60, 2);
        return used + 6;
    }

    /// <summary>Most bytes that <see cref="Write"/> writes.</summary>
    public const int MaxLength = 35;

    /// <inheritdoc/>
    public int CompareTo(Moment other) => Seconds != other.Seconds ? Seconds.CompareTo(other.Seconds) : Nanoseconds.CompareTo(other.Nanoseconds);

    /// <summary>Whether both are the same moment, whatever zone they were written in.</summary>
    public bool IsSameAs(Moment other) => Seconds == other.Seconds && Nanoseconds == other.Nanoseconds;

    /// <summary>As it is written.</summary>
    public override string ToString()
    {
        Span<byte> text = stackalloc byte[MaxLength];
        return Encoding.ASCII.GetString(text[..Write(text)]);
    }

    private static MalformedException Wrong(ReadOnlySpan<byte> text) =>
        new("restic JSON", "time", "RFC 3339", $"'{Encoding.UTF8.GetString(text[..Math.Min(text.Length, 40)])}'");

    private static bool Number(ReadOnlySpan<byte> text, out int value)
    {
        value = 0;
        foreach (byte digit in text)
        {
            if (digit is < (byte)'0' or > (byte)'9')
                return false;
            value = (value * 10) + (digit - '0');
        }

        return true;
    }

    private static void Digits(Span<byte> into, int value, int count)
    {
        for (int at = count - 1; at >= 0; at--, value /= 10)
            into[at] = (byte)('0' + (value % 10));
    }

    // Days since 1970-01-01 in the Gregorian calendar; eras of 400 years that begin in March.
    private static long Days(int year, int month, int day)
    {
        long y = month <= 2 ? year - 1 : year;
        long era = (y >= 0 ? y : y - 399) / 400;
        long yearOfEra = y - (era * 400);
        long dayOfYear = ((153 * (month + (month > 2 ? -3 : 9))) + 2) / 5 + day - 1;
        return (era * 146097) + (yearOfEra * 365) + (yearOfEra / 4) - (yearOfEra / 100) + dayOfYear - 719468;
    }

    private static (int Year, int Month, int Day) Civil(long daysSinceYear0)
    {
        long z = daysSinceYear0 - 60; // since 0000-03-01
        long era = (z >= 0 ? z : z - 146096) / 146097;
        long dayOfEra = z - (era * 146097);
        long yearOfEra = (dayOfEra - (dayOfEra / 1460) + (dayOfEra / 36524) - (dayOfEra / 146096)) / 365;
        long dayOfYear = dayOfEra - ((365 * yearOfEra) + (yearOfEra / 4) - (yearOfEra / 100));
        long shifted = ((5 * dayOfYear) + 2) / 153;
        int month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
        return ((int)(yearOfEra + (era * 400) + (month <= 2 ? 1 : 0)), month, (int)(dayOfYear - (((153 * shifted) + 2) / 5) + 1));
    }
}
