namespace Sbox.Tour.Tests;

public sealed class ImageShelfTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-shelf-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void Of_todays_images_the_newest_four_stay_and_what_somebody_may_still_be_using()
    {
        foreach (double hours in (double[])[0.5, 1, 2, 2.5, 2.9, 4, 5, 30])
            Put(hours);
        Assert.Equal(["0.5", "1", "2", "2.5", "2.9"], LeftWhen("new"));
        Assert.Equal(["0.5.lock", "1.lock", "2.5.lock", "2.9.lock", "2.lock", "new.lock"], Locks());
    }

    [Fact]
    public void Where_there_are_few_they_stay_for_a_day()
    {
        foreach (double hours in (double[])[4, 23, 25])
            Put(hours);
        Assert.Equal(["23", "4"], LeftWhen("new"));
    }

    [Fact]
    public void What_somebody_holds_stays_and_its_lock_is_still_one()
    {
        Put(30);
        var shelf = new ImageShelf(directory);
        using (shelf.Alone("30"))
            Assert.Equal(["30"], LeftWhen("new"));
        Assert.Empty(LeftWhen("new"));
    }

    [Fact]
    public void A_lock_without_an_image_goes_and_the_name_can_be_had_again()
    {
        File.WriteAllText(Path.Combine(directory, "old.lock"), "");
        Assert.Empty(LeftWhen("new"));
        Assert.Equal(["new.lock"], Locks());
        using (new ImageShelf(directory).Alone("old"))
            Assert.Equal(["new.lock", "old.lock"], Locks());
    }

    // Many want the same names while others remove them: no two ever have one at once.
    [Fact]
    public async Task Two_never_hold_one_name_though_it_is_removed_all_the_while()
    {
        int inside = 0, times = 0;
        bool together = false;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(number => Task.Run(() =>
        {
            var shelf = new ImageShelf(directory);
            for (int again = 0; again < 3000; again++)
            {
                if (number < 4)
                {
                    shelf.Tidy("none");
                    continue;
                }

                using IDisposable? held = shelf.TryAlone("one");
                if (held is null)
                    continue;
                together |= Interlocked.Increment(ref inside) > 1;
                Interlocked.Increment(ref times);
                Thread.Sleep(1);
                Interlocked.Decrement(ref inside);
            }
        })));
        Assert.True(times > 0);
        Assert.False(together);
    }

    private void Put(double hours)
    {
        string name = hours.ToString(System.Globalization.CultureInfo.InvariantCulture), image = Path.Combine(directory, name);
        Directory.CreateDirectory(image);
        File.WriteAllText(Path.Combine(directory, name + ".lock"), "");
        new ImageShelf(directory).Use(name);
        File.SetLastWriteTimeUtc(Path.Combine(image, ".whole"), DateTime.UtcNow.AddHours(-hours));
    }

    private string[] LeftWhen(string making)
    {
        var shelf = new ImageShelf(directory);
        using (shelf.Alone(making))
            shelf.Tidy(making);
        return [.. Directory.GetDirectories(directory).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
    }

    private string[] Locks() => [.. Directory.GetFiles(directory).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
}
